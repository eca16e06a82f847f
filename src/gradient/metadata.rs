//! The JSON header: what the safetensors file says of its blobs, and the entry `templar`.

use super::{GradientError, Header, Layout};
use serde::{
    Deserialize, Serialize,
    de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor},
};
use sp_core::crypto::{AccountId32, Ss58Codec};

/// The format that this program writes and reads.
pub(super) const VERSION: u32 = 2;
/// Where the header is, inside `__metadata__`.
const ENTRY: &str = "templar";

/// The entry `templar`. Hashes, samples (f32, little-endian) and the signature are hex.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    version: u32,
    run: String,
    netuid: u16,
    window: u64,
    uid: u16,
    hotkey: String,
    sample_digest: String,
    sample_count: u64,
    model_hash: String,
    model_samples: String,
    pub(super) exponents: Vec<i8>,
    signature: String,
}

impl Raw {
    pub(super) fn new(header: &Header, exponents: Vec<i8>, signature: &[u8; 64]) -> Self {
        let samples: Vec<u8> = header.model_samples.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self {
            version: VERSION,
            run: hex::encode(header.run),
            netuid: header.netuid,
            window: header.window,
            uid: header.uid,
            hotkey: header.hotkey.to_ss58check(),
            sample_digest: header.sample_digest.clone(),
            sample_count: header.sample_count,
            model_hash: hex::encode(header.model_hash),
            model_samples: hex::encode(samples),
            exponents,
            signature: hex::encode(signature),
        }
    }

    /// The header and the signature; checks their form, not whether they are the expected ones.
    pub(super) fn read(&self) -> Result<(Header, [u8; 64]), GradientError> {
        if self.version != VERSION {
            return Err(GradientError::Version { found: self.version, expected: VERSION });
        }
        let mut samples = vec![0; self.model_samples.len() / 2];
        hex::decode_to_slice(&self.model_samples, &mut samples).map_err(|_| unreadable("model_samples"))?;
        if !samples.len().is_multiple_of(4) {
            return Err(unreadable("model_samples"));
        }
        let model_samples =
            samples.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let header = Header {
            run: array(&self.run, "run")?,
            netuid: self.netuid,
            window: self.window,
            uid: self.uid,
            hotkey: AccountId32::from_ss58check(&self.hotkey).map_err(|_| unreadable("hotkey"))?,
            sample_digest: self.sample_digest.clone(),
            sample_count: self.sample_count,
            model_hash: array(&self.model_hash, "model_hash")?,
            model_samples,
        };
        Ok((header, array(&self.signature, "signature")?))
    }
}

fn unreadable(field: &str) -> GradientError {
    GradientError::Header { problem: format!("its {field} is not of the right form") }
}

fn array<const N: usize>(text: &str, field: &str) -> Result<[u8; N], GradientError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| unreadable(field))?;
    Ok(bytes)
}

/// The name of the blob with the sketches, which no tensor of a model has.
pub(super) const SKETCHES: &str = "templar.sketches";

/// Names of the two blobs of a tensor.
pub(super) fn blob_names(name: &str) -> [String; 2] {
    [format!("{name}.positions"), format!("{name}.values")]
}

/// Writes the header of a safetensors file, padded with spaces to a multiple of 8 bytes.
pub(super) fn write(raw: &Raw, blobs: &[(String, usize)]) -> Result<Vec<u8>, GradientError> {
    let problem = |e: serde_json::Error| GradientError::Header { problem: e.to_string() };
    let inner = serde_json::to_string(raw).map_err(problem)?;
    let mut json =
        format!("{{\"__metadata__\":{{\"{ENTRY}\":{}}}", serde_json::to_string(&inner).map_err(problem)?);
    let mut at = 0;
    for (name, bytes) in blobs {
        let name = serde_json::to_string(name).map_err(problem)?;
        let end = at + bytes;
        json += &format!(",{name}:{{\"dtype\":\"U8\",\"shape\":[{bytes}],\"data_offsets\":[{at},{end}]}}");
        at = end;
    }
    json.push('}');
    let mut json = json.into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok(json)
}

/// What a safetensors header says of one blob.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Blob<'a> {
    dtype: &'a str,
    shape: [usize; 1],
    data_offsets: [usize; 2],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    templar: String,
}

/// Reads the header of a safetensors file: the entry `templar`, and the length of each blob in the
/// layout's order (positions, then values), and last of the sketches where the run asks for them. The blobs must lie one
/// behind the other from 0.
pub(super) fn read(json: &[u8], layout: &Layout) -> Result<(Raw, Vec<usize>), GradientError> {
    let sketches = layout.audited().map(|_| SKETCHES.to_owned());
    let names: Vec<String> =
        layout.tensors().iter().flat_map(|t| blob_names(&t.name)).chain(sketches).collect();
    let mut found: Vec<Option<[usize; 2]>> = vec![None; names.len()];
    let mut refused = None;
    let visitor = HeaderVisitor { names: &names, found: &mut found, refused: &mut refused };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let text = deserializer.deserialize_map(visitor).and_then(|t| deserializer.end().map(|()| t));
    if let Some(error) = refused {
        return Err(error);
    }
    let problem = |e: serde_json::Error| GradientError::Header { problem: e.to_string() };
    let raw: Raw = serde_json::from_str(&text.map_err(problem)?).map_err(problem)?;
    let mut at = 0;
    let mut lengths = Vec::with_capacity(names.len());
    for (name, blob) in names.iter().zip(&found) {
        let Some([start, end]) = *blob else {
            return Err(GradientError::MissingTensor { name: name.clone() });
        };
        if start != at || end < start {
            return Err(GradientError::Blob { name: name.clone() });
        }
        lengths.push(end - start);
        at = end;
    }
    Ok((raw, lengths))
}

/// Collects the blobs that the layout knows, and refuses the first that it does not: memory stays bounded
/// by the layout, whatever the header says.
struct HeaderVisitor<'a> {
    names: &'a [String],
    found: &'a mut [Option<[usize; 2]>],
    refused: &'a mut Option<GradientError>,
}

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a safetensors header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let mut text = None;
        // The writer keeps the layout's order, so the next name is nearly always the right one.
        let mut next = 0;
        while let Some(key) = map.next_key::<String>()? {
            if key == "__metadata__" {
                if text.replace(map.next_value::<Metadata>()?.templar).is_some() {
                    return Err(A::Error::custom("it has two entries __metadata__"));
                }
                continue;
            }
            let index = if self.names.get(next) == Some(&key) {
                Some(next)
            } else {
                self.names.iter().position(|n| *n == key)
            };
            let Some(index) = index.filter(|i| self.found[*i].is_none()) else {
                *self.refused = Some(GradientError::ExtraTensor);
                map.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom("a tensor that is not the model's"));
            };
            next = index + 1;
            let blob: Blob<'_> = map.next_value()?;
            let [start, end] = blob.data_offsets;
            if blob.dtype != "U8" || end.checked_sub(start) != Some(blob.shape[0]) {
                *self.refused = Some(GradientError::Blob { name: self.names[index].clone() });
                return Err(A::Error::custom("a blob that is not one"));
            }
            self.found[index] = Some(blob.data_offsets);
        }
        text.ok_or_else(|| A::Error::custom("it has no entry __metadata__"))
    }
}
