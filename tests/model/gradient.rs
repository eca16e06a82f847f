//! The pseudo-gradient as a stranger sends it: every way to be wrong, and a great many random ones.

use proptest::prelude::*;
use sp_core::{Pair, crypto::AccountId32, sr25519};
use templar::{
    codec::{Values, positions::Fault, sketch, wire::WireError},
    gradient::{
        Audited, Expected, GradientError, Header, Layout, PseudoGradient, SparseTensor, decode, encode,
        encode_with_sketches, model_samples, signing_message,
    },
    manifest::{CompressConfig, ManifestFile},
    model::parameter_shapes,
};

fn shapes() -> [(String, Vec<usize>); 3] {
    [("a.weight", vec![128, 192]), ("b.weight", vec![96, 40]), ("norm.weight", vec![20])]
        .map(|(n, s)| (n.to_owned(), s))
}

fn layout() -> Layout {
    Layout::new(&shapes(), &CompressConfig::demo(0.9, 64, 32), 2).unwrap()
}

/// The same for a run that audits declared work: at most 4 micro-batches of 16 sequences.
fn audited_layout() -> Layout {
    layout().with_sketches(Audited { micro_batch: 16, most: 4 })
}

/// Sketches of so many micro-batches, sealed.
fn sketches(micro_batches: usize) -> Vec<u8> {
    let mut random = Lcg(9);
    let mut number = || random.below(2001) as f64 / 1000.0 - 1.0;
    let mut one = || sketch::seal(&(0..3).map(|_| std::array::from_fn(|_| number())).collect::<Vec<_>>());
    (0..micro_batches).flat_map(|_| one()).collect()
}

fn key() -> sr25519::Pair {
    sr25519::Pair::from_seed(&[3; 32])
}

fn header() -> Header {
    Header {
        run: [9; 32],
        netuid: 3,
        window: 17,
        uid: 5,
        hotkey: AccountId32::from(key().public()),
        sample_digest: "00112233445566778899aabbccddeeff".to_owned(),
        sample_count: 64,
        model_hash: [4; 32],
        model_samples: vec![0.5, -1.0, 0.0, 1e-3, 2.0, -0.25],
    }
}

fn expected() -> Expected {
    let Header { run, netuid, window, uid, hotkey, .. } = header();
    Expected { run, netuid, window, uid, hotkey }
}

/// A small generator of our own, so that a failure can be repeated.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }
}

fn tensors(layout: &Layout, seed: u64) -> Vec<SparseTensor> {
    let mut random = Lcg(seed);
    let tensor = |shape| {
        let mut tensor = SparseTensor::noise(shape, |below| random.below(below));
        if tensor.levels.is_empty() {
            tensor.exponent = -20;
            tensor.codes.iter_mut().for_each(|code| *code = random.below(256) as u8);
        }
        tensor
    };
    layout.tensors().iter().map(tensor).collect()
}

fn sign(message: &[u8]) -> [u8; 64] {
    key().sign(message).0
}

fn verify(account: &AccountId32, message: &[u8], signature: &[u8; 64]) -> bool {
    let public = sr25519::Public::from_raw(*account.as_ref());
    sr25519::Pair::verify(&sr25519::Signature::from_raw(*signature), message, &public)
}

fn read(bytes: &[u8]) -> Result<PseudoGradient, GradientError> {
    decode(bytes, &layout(), &expected(), verify)
}

/// A good file.
fn file() -> Vec<u8> {
    encode(&header(), &tensors(&layout(), 1), &layout(), sign).unwrap().0
}

/// JSON header and payload of a file.
fn parts(file: &[u8]) -> (String, Vec<u8>) {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    (String::from_utf8(file[8..8 + length].to_vec()).unwrap(), file[8 + length..].to_vec())
}

fn join(json: &str, payload: &[u8]) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json.as_bytes(), payload].concat()
}

/// The error of a good file whose JSON had `from` replaced by `to`. Signatures count as good, so that what is
/// behind them is reached.
fn with_json(from: &str, to: &str) -> GradientError {
    let (json, payload) = parts(&file());
    assert!(json.contains(from), "{from} is not in {json}");
    decode(&join(&json.replacen(from, to, 1), &payload), &layout(), &expected(), |_, _, _| true).unwrap_err()
}

#[test]
fn what_is_written_is_read() {
    let sent = tensors(&layout(), 1);
    let (file, digest) = encode(&header(), &sent, &layout(), sign).unwrap();
    assert!(file.len() <= layout().max_object_bytes());
    let read = read(&file).unwrap();
    assert_eq!((read.header, read.tensors, read.digest), (header(), sent, digest));
}

#[test]
fn sketches_travel_with_it_and_are_signed() {
    let (layout, sent) = (audited_layout(), tensors(&layout(), 1));
    let write =
        |header: &Header, sketches: &[u8]| encode_with_sketches(header, &sent, sketches, &layout, sign);
    let (file, digest) = write(&header(), &sketches(4)).unwrap();
    assert!(file.len() <= layout.max_object_bytes());
    let read = decode(&file, &layout, &expected(), verify).unwrap();
    assert_eq!((&read.tensors, read.digest, &read.sketches), (&sent, digest, &sketches(4)));
    assert_eq!(sketch::seal(&read.sketch(3).unwrap()), sketches(4)[3 * 3 * sketch::SEALED_BYTES..]);
    assert!(read.sketch(4).is_none() && read.sketch(usize::MAX).is_none());
    // It remains a file that others can open, and what was committed to cannot be changed.
    assert!(safetensors::SafeTensors::deserialize(&file).unwrap().tensor("templar.sketches").is_ok());
    let mut changed = file.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(decode(&changed, &layout, &expected(), verify), Err(GradientError::Signature));

    // One for each micro-batch that is declared, the last of which may be a part, and no more than may be.
    let of = |sequences| Header { sample_count: sequences, ..header() };
    assert!(write(&of(49), &sketches(4)).is_ok() && write(&of(48), &sketches(3)).is_ok());
    let bytes = |count: u64| count * (3 * sketch::SEALED_BYTES) as u64;
    let refused = |found, expected, sequences| GradientError::Sketches { found, expected, sequences };
    assert_eq!(write(&of(48), &sketches(4)), Err(refused(bytes(4), bytes(3), 48)));
    assert_eq!(write(&of(49), &sketches(3)), Err(refused(bytes(3), bytes(4), 49)));
    assert_eq!(write(&of(65), &sketches(5)), Err(GradientError::TooManySequences { found: 65, limit: 64 }));
    assert_eq!(encode(&header(), &sent, &layout, sign), Err(refused(0, bytes(4), 64)));
    let huge = write(&of(u64::MAX), &[]);
    assert!(matches!(huge, Err(GradientError::Sketches { found: 0, .. })), "{huge:?}");

    // A run that asks for none takes none, and one that asks takes no object without.
    let plain = Layout::new(&shapes(), &CompressConfig::demo(0.9, 64, 32), 2).unwrap();
    assert!(matches!(
        encode_with_sketches(&header(), &sent, &sketches(4), &plain, sign),
        Err(GradientError::Sketches { .. })
    ));
    let (small, _) = write(&of(16), &sketches(1)).unwrap();
    let read = decode(&small, &plain, &expected(), verify);
    assert!(matches!(read, Err(GradientError::ExtraTensor | GradientError::TooLarge { .. })), "{read:?}");
    let (without, _) = encode(&header(), &sent, &plain, sign).unwrap();
    let name = "templar.sketches".to_owned();
    assert_eq!(decode(&without, &layout, &expected(), verify), Err(GradientError::MissingTensor { name }));
}

#[test]
fn it_is_a_safetensors_file() {
    let file = file();
    let other = safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_eq!(other.names().len(), 6);
    let values = other.tensor("a.weight.values").unwrap();
    assert_eq!(values.dtype(), safetensors::Dtype::U8);
    assert_eq!(values.data(), tensors(&layout(), 1)[0].codes);
}

#[test]
fn the_digest_covers_the_content_and_not_the_spaces() {
    let good = read(&file()).unwrap().digest;
    let (json, payload) = parts(&file());
    let spaced = join(&json.replacen(":{", ": {", 3), &payload);
    assert_eq!(read(&spaced).unwrap().digest, good);
    let change = |edit: &dyn Fn(&mut Header)| {
        let mut header = header();
        edit(&mut header);
        encode(&header, &tensors(&layout(), 1), &layout(), sign).unwrap().1
    };
    let changed = [
        change(&|h| h.run[0] ^= 1),
        change(&|h| h.netuid += 1),
        change(&|h| h.window += 1),
        change(&|h| h.uid += 1),
        change(&|h| h.sample_digest.replace_range(0..1, "f")),
        change(&|h| h.sample_count += 1),
        change(&|h| h.model_hash[31] ^= 1),
        change(&|h| h.model_samples[5] = 0.0),
        encode(&header(), &tensors(&layout(), 2), &layout(), sign).unwrap().1,
        good,
    ];
    for (i, a) in changed.iter().enumerate() {
        assert!(changed[i + 1..].iter().all(|b| a != b), "{i}");
    }
}

#[test]
fn another_header_is_refused_by_name() {
    let wrong = |edit: &dyn Fn(&mut Expected)| {
        let mut expected = expected();
        edit(&mut expected);
        decode(&file(), &layout(), &expected, verify).unwrap_err()
    };
    assert_eq!(wrong(&|e| e.run[0] ^= 1), GradientError::WrongRun);
    assert_eq!(wrong(&|e| e.netuid = 4), GradientError::WrongNetuid { found: 3, expected: 4 });
    assert_eq!(wrong(&|e| e.window = 18), GradientError::WrongWindow { found: 17, expected: 18 });
    assert_eq!(wrong(&|e| e.uid = 6), GradientError::WrongUid { found: 5, expected: 6 });
    assert_eq!(wrong(&|e| e.hotkey = AccountId32::new([1; 32])), GradientError::WrongHotkey);
}

#[test]
fn another_signature_is_refused() {
    let other = sr25519::Pair::from_seed(&[4; 32]);
    let foreign = encode(&header(), &tensors(&layout(), 1), &layout(), |m| other.sign(m).0).unwrap().0;
    assert_eq!(read(&foreign), Err(GradientError::Signature));
    let mut tampered = file();
    *tampered.last_mut().unwrap() ^= 1;
    assert_eq!(read(&tampered), Err(GradientError::Signature));
    // A signature is for one subnet, one run and one window.
    let message = signing_message(3, &[9; 32], 17, &[0; 32]);
    assert_ne!(message, signing_message(4, &[9; 32], 17, &[0; 32]));
    assert_ne!(message, signing_message(3, &[8; 32], 17, &[0; 32]));
    assert_ne!(message, signing_message(3, &[9; 32], 18, &[0; 32]));
}

#[test]
fn a_wrong_size_is_refused_before_anything_is_read() {
    let good = file();
    let limit = layout().max_object_bytes();
    let big = vec![0; limit + 1];
    assert_eq!(read(&big), Err(GradientError::TooLarge { bytes: limit + 1, limit }));
    for length in [0, 7, 8, 100, good.len() - 1] {
        assert!(matches!(read(&good[..length]), Err(GradientError::Truncated { .. })), "{length}");
    }
    let long = [good.as_slice(), &[0]].concat();
    assert!(matches!(read(&long), Err(GradientError::TrailingBytes { .. })));
    let mut header = good.clone();
    header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(read(&header), Err(GradientError::HeaderTooLarge { bytes: u64::MAX, .. })));
}

#[test]
fn a_wrong_json_header_is_refused() {
    let header =
        |from, to| assert!(matches!(with_json(from, to), GradientError::Header { .. }), "{from} {to}");
    header("{", "[");
    header("\"__metadata__\"", "\"__metadata__\":{\"templar\":\"\"},\"__metadata__\"");
    header("{\"templar\"", "{\"other\"");
    header("\\\"run\\\":\\\"09", "\\\"run\\\":\\\"0x");
    header("\\\"run\\\":\\\"09", "\\\"run\\\":\\\"");
    header("\\\"hotkey\\\":\\\"5", "\\\"hotkey\\\":\\\"6");
    header("\\\"signature\\\":\\\"", "\\\"signature\\\":\\\"00");
    header("\\\"model_samples\\\":\\\"", "\\\"model_samples\\\":\\\"00");
    header("\\\"exponents\\\":[-20", "\\\"exponents\\\":[-200");
    header("\\\"netuid\\\":3", "\\\"netuid\\\":3,\\\"more\\\":3");
    assert_eq!(
        with_json("\\\"version\\\":2", "\\\"version\\\":3"),
        GradientError::Version { found: 3, expected: 2 }
    );
    // A space before the closing brace keeps the JSON good; after it too.
    let (json, payload) = parts(&file());
    let garbage = join(&format!("{json}x"), &payload);
    assert!(matches!(read(&garbage), Err(GradientError::Header { .. })));
}

#[test]
fn other_tensors_than_the_models_are_refused() {
    assert_eq!(with_json("\"b.weight.values\"", "\"x.weight.values\""), GradientError::ExtraTensor);
    assert_eq!(with_json("\"b.weight.values\"", "\"a.weight.values\""), GradientError::ExtraTensor);
    let (json, payload) = parts(&file());
    let at = json.find(",\"norm.weight.values\"").unwrap();
    let missing = join(&format!("{}}}", &json[..at]), &payload);
    let name = "norm.weight.values".to_owned();
    assert_eq!(read(&missing), Err(GradientError::MissingTensor { name }));
    let name = || "a.weight.positions".to_owned();
    assert_eq!(with_json("\"dtype\":\"U8\"", "\"dtype\":\"I8\""), GradientError::Blob { name: name() });
    assert_eq!(
        with_json("\"data_offsets\":[0,", "\"data_offsets\":[1,"),
        GradientError::Blob { name: name() }
    );
    // A later blob that starts again at 0 overlaps.
    let length = format!("\"shape\":[{}]", layout().tensors()[1].kept_values());
    let start = json.find("\"b.weight.values\"").unwrap();
    let entry = &json[start..start + json[start..].find('}').unwrap() + 1];
    let overlap = format!(
        "\"b.weight.values\":{{\"dtype\":\"U8\",{length},\"data_offsets\":[0,{}]}}",
        layout().tensors()[1].kept_values()
    );
    let name = "b.weight.values".to_owned();
    assert_eq!(with_json(entry, &overlap), GradientError::Blob { name });
}

#[test]
fn wrong_numbers_are_refused() {
    assert_eq!(
        with_json("\\\"exponents\\\":[-20", "\\\"exponents\\\":[101"),
        problem(WireError::Exponent(101))
    );
    assert_eq!(
        with_json("\\\"exponents\\\":[-20,", "\\\"exponents\\\":["),
        GradientError::ExponentCount { found: 2, expected: 3 }
    );
    let nan = hex::encode(f32::NAN.to_le_bytes());
    let first = hex::encode(0.5f32.to_le_bytes());
    assert_eq!(
        with_json(&format!("model_samples\\\":\\\"{first}"), &format!("model_samples\\\":\\\"{nan}")),
        GradientError::SampleNotFinite { index: 0 }
    );
    assert_eq!(
        with_json(&format!("model_samples\\\":\\\"{first}"), "model_samples\\\":\\\""),
        GradientError::SampleCount { found: 5, expected: 6 }
    );
    assert_eq!(with_json("\\\"00112233", "\\\"0011223"), GradientError::SampleDigest);
    assert_eq!(with_json("\\\"00112233", "\\\"0011223g"), GradientError::SampleDigest);
    assert_eq!(with_json("8899aabbcc", "8899AABBCC"), GradientError::SampleDigest);
}

/// What is wrong with the first tensor.
fn problem(problem: WireError) -> GradientError {
    GradientError::Tensor { name: "a.weight".to_owned(), problem }
}

/// A file whose first tensor has these bytes as positions, and this many values.
fn with_blobs(positions: &[u8], values: usize) -> Vec<u8> {
    let (json, payload) = parts(&file());
    let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let names = ["a.weight", "b.weight", "norm.weight"];
    let names = names.iter().flat_map(|n| [format!("{n}.positions"), format!("{n}.values")]);
    let (mut at, mut out) = (0, Vec::new());
    for (i, name) in names.enumerate() {
        let offsets = value[&name]["data_offsets"].clone();
        let range = offsets[0].as_u64().unwrap() as usize..offsets[1].as_u64().unwrap() as usize;
        let mut blob = payload[range].to_vec();
        match i {
            0 => blob = positions.to_vec(),
            1 => blob.resize(values, 0),
            _ => {}
        }
        value[&name]["shape"][0] = blob.len().into();
        value[&name]["data_offsets"] = serde_json::json!([at, at + blob.len()]);
        at += blob.len();
        out.extend(blob);
    }
    join(&value.to_string(), &out)
}

#[test]
fn wrong_positions_are_refused() {
    let values = layout().tensors()[0].kept_values();
    let read = |positions: &[u8], values| {
        decode(&with_blobs(positions, values), &layout(), &expected(), |_, _, _| true)
            .map(|_| ())
            .unwrap_err()
    };
    let (json, payload) = parts(&file());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let length = json["a.weight.positions"]["shape"][0].as_u64().unwrap() as usize;
    let good = &payload[..length];
    assert!(decode(&with_blobs(good, values), &layout(), &expected(), |_, _, _| true).is_ok());
    assert_eq!(
        read(good, values + 1),
        problem(WireError::ValuesLength { found: values + 1, expected: values })
    );
    assert_eq!(
        read(&good[..length - 2], values),
        problem(WireError::Positions(Fault::Truncated { chunk: 5 }))
    );
    assert_eq!(read(&[], values), problem(WireError::Positions(Fault::Truncated { chunk: 0 })));
    assert_eq!(read(&[good, &[0]].concat(), values), problem(WireError::Positions(Fault::Excess)));
    let mut zeros = good.to_vec();
    zeros[..40].fill(0);
    assert_eq!(read(&zeros, values), problem(WireError::Positions(Fault::OutOfRange { chunk: 0 })));
    let limit = layout().tensors()[0].max_position_bytes();
    assert_eq!(
        read(&vec![0xff; limit + 1], values),
        problem(WireError::PositionsTooLong { found: limit + 1, limit })
    );
    // The padding of the last byte: some seed leaves some.
    let padded = (0..20).any(|seed| {
        let layout = layout();
        let (json, payload) = parts(&encode(&header(), &tensors(&layout, seed), &layout, sign).unwrap().0);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let length = json["a.weight.positions"]["shape"][0].as_u64().unwrap() as usize;
        let mut blob = payload[..length].to_vec();
        let last = blob.len() - 1;
        blob[last] |= 0x80;
        let read = decode(&with_blobs(&blob, values), &layout, &expected(), |_, _, _| true);
        read == Err(problem(WireError::Positions(Fault::Padding)))
    });
    assert!(padded);
}

#[test]
fn nothing_is_written_that_would_be_refused() {
    let refused = |edit: &dyn Fn(&mut Header, &mut Vec<SparseTensor>)| {
        let (mut header, mut tensors) = (header(), tensors(&layout(), 1));
        edit(&mut header, &mut tensors);
        encode(&header, &tensors, &layout(), sign).unwrap_err()
    };
    let unsendable = GradientError::Unsendable { name: "b.weight".to_owned() };
    assert_eq!(refused(&|_, t| t[1].exponent = 101), unsendable);
    assert_eq!(refused(&|_, t| t[1].codes.truncate(1)), unsendable);
    assert_eq!(refused(&|_, t| t[1].positions[1] = t[1].positions[0]), unsendable);
    assert_eq!(refused(&|_, t| t[1].positions[31] = 1920), unsendable);
    assert_eq!(refused(&|_, t| t.truncate(2)), GradientError::TensorCount { found: 2, expected: 3 });
    assert_eq!(
        refused(&|h, _| h.model_samples[2] = f32::INFINITY),
        GradientError::SampleNotFinite { index: 2 }
    );
    assert_eq!(refused(&|h, _| h.sample_digest.push('0')), GradientError::SampleDigest);
}

#[test]
fn model_samples_are_drawn_for_one_peer_and_one_window() {
    let hotkey = AccountId32::new([1; 32]);
    let draw = |window, tensor| model_samples(&[2; 32], &hotkey, window, tensor, 1000, 50);
    assert!(draw(1, 0).iter().all(|p| *p < 1000));
    assert_eq!(draw(1, 0), draw(1, 0));
    assert_ne!(draw(1, 0), draw(2, 0));
    assert_ne!(draw(1, 0), draw(1, 1));
    assert_ne!(draw(1, 0), model_samples(&[3; 32], &hotkey, 1, 0, 1000, 50));
    assert_ne!(draw(1, 0), model_samples(&[2; 32], &AccountId32::new([2; 32]), 1, 0, 1000, 50));
    // Computed with Python's blake3 from the definition.
    assert_eq!(model_samples(&[2; 32], &hotkey, 1, 0, 1000, 3), [986, 410, 268]);
}

#[test]
fn templar_1_stays_below_20_megabytes() {
    let manifest = ManifestFile::preset("templar-1").unwrap().parsed;
    let layout = Layout::new(&parameter_shapes(&manifest.model), &manifest.compress, 2).unwrap();
    assert_eq!(layout.parameters(), 1_204_881_408);
    let values: usize = layout.tensors().iter().map(|t| t.kept_values()).sum();
    // 8.474 bits for a position at random (see `positions`), 8 for its value.
    let typical = values as f64 * (8.4737 + 8.0) / 8.0;
    assert!(typical < 20e6, "{typical}");
    // The worst case, and so what a receiver has to allow, is not much more.
    assert!(layout.max_object_bytes() < 23_000_000, "{}", layout.max_object_bytes());
    // The same model with 64 of 4096, without a transform and in 2 bits: 7.49 bits for a position, and two levels a chunk.
    let settings = CompressConfig::sparse_loco(0.95, 64, 64);
    let layout = Layout::new(&parameter_shapes(&manifest.model), &settings, 2).unwrap();
    let values: usize = layout.tensors().iter().map(|t| t.kept_values()).sum();
    let levels: usize = layout.tensors().iter().map(|t| t.levels()).sum();
    let typical = values as f64 * (7.49 + 2.0) / 8.0 + levels as f64 * 2.0;
    assert!(typical < 24.5e6, "{typical}");
}

/// Mutates good files in every way that bytes can be mutated, and reads them: with the signature checked for
/// nothing, so that the unpacking behind it is reached. Nothing may panic; what is accepted must fit.
#[test]
fn a_mutated_file_never_panics() {
    let full = std::env::var_os("TEMPLAR_FULL_TESTS").is_some();
    let rounds: u64 = if full { 10_000_000 } else { 100_000 };
    for settings in [
        CompressConfig::demo(0.9, 64, 32),
        CompressConfig::sparse_loco(0.95, 64, 64),
        CompressConfig { values: Values::One, top_k: 100, ..CompressConfig::demo(0.9, 64, 32) },
    ] {
        mutate(&Layout::new(&shapes(), &settings, 2).unwrap(), rounds / 4);
    }
    mutate(&audited_layout(), rounds / 4);
}

fn mutate(layout: &Layout, rounds: u64) {
    let expected = expected();
    let committed = sketches(layout.audited().map_or(0, |audited| audited.most));
    let good: Vec<_> = (0..8)
        .map(|s| encode_with_sketches(&header(), &tensors(layout, s), &committed, layout, sign).unwrap().0)
        .collect();
    let mut random = Lcg(2026);
    let (mut accepted, mut refused) = (0u64, 0u64);
    let mut bytes = Vec::new();
    for _ in 0..rounds {
        bytes.clone_from(&good[random.below(good.len())]);
        let json = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
        for _ in 0..1 + random.below(3) {
            let length = bytes.len().max(1);
            let at = random.below(length);
            match random.below(8) {
                0 => bytes.truncate(at),
                1 => bytes.extend((0..random.below(64)).map(|_| 0)),
                2 => bytes.drain(at.min(bytes.len())..).for_each(drop),
                3 => bytes.iter_mut().skip(at).take(16).for_each(|b| *b = 0),
                4 if at < json => {
                    bytes.iter_mut().skip(at).take(1).for_each(|b| *b = b"0123456789\",:{}[]"[at % 17])
                }
                // Most of them in the payload, where the signature would have hidden them.
                _ => {
                    let at = if bytes.len() > json { json + random.below(bytes.len() - json) } else { at };
                    let flip = 1 << random.below(8);
                    bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= flip);
                }
            }
        }
        match decode(&bytes, layout, &expected, |_, _, _| true) {
            Ok(read) => {
                accepted += 1;
                for (tensor, shape) in read.tensors.iter().zip(layout.tensors()) {
                    assert!(tensor.fits(shape));
                    for chunk in tensor.positions.chunks(shape.kept) {
                        assert!(chunk.windows(2).all(|p| p[0] < p[1]));
                        assert!(usize::from(chunk[shape.kept - 1]) < shape.chunk_len());
                    }
                }
            }
            Err(_) => refused += 1,
        }
    }
    // Both happen: a flipped value is a good file, a cut one is not.
    assert!(accepted > rounds / 20 && refused > rounds / 20, "{accepted} {refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn any_header_is_refused_or_read(json in "\\{\"__metadata__\":\\{\"templar\":\"[ -~]{0,200}", payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(read(&join(&json, &payload)).is_err());
    }

    #[test]
    fn any_content_survives(seed in any::<u64>(), window in any::<u64>(), count in any::<u64>(), uid in any::<u16>()) {
        let mut header = header();
        (header.window, header.sample_count, header.uid) = (window, count, uid);
        let sent = tensors(&layout(), seed);
        let file = encode(&header, &sent, &layout(), sign).unwrap().0;
        let expected = Expected { window, uid, ..expected() };
        let read = decode(&file, &layout(), &expected, verify).unwrap();
        prop_assert_eq!((read.header, read.tensors), (header, sent));
    }
}
