//! Copies: pseudo-gradients that overlap too much.

use super::Hotkey;
use crate::gradient::{Layout, SparseTensor, TensorLayout};

/// Chunks that are compared of a large model: enough for a similarity that is right to a hundredth.
const CHUNKS: usize = 256;
/// Fewer candidates do not show what is usual; then only objects that are all but equal count as overlapping.
const FEW: usize = 4;
/// The similarity of objects that are equal, but for a little noise.
pub(super) const ALL_BUT_EQUAL: f64 = 0.95;

/// An object that stage 1 accepted.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Whose.
    pub hotkey: &'a Hotkey,
    /// Its coefficients, in the layout's order.
    pub tensors: &'a [SparseTensor],
}

/// Two objects that overlap too much.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The peers, the smaller hotkey first.
    pub hotkeys: [Hotkey; 2],
    /// Their similarity in excess of what is usual: 0 for a usual pair, 1 for equal objects.
    pub similarity: f64,
}

/// The pairs whose similarity is at least `limit`, in the order of their hotkeys.
///
/// The similarity of two objects is the cosine of their coefficients, every tensor at unit length, over the same
/// at most 256 chunks, drawn by `seed`. Honest objects are alike too, because all learn the same; how much
/// depends on the model and the time. So what counts is the excess over the window's median pair,
/// `(c - median) / (1 - median)`.
///
/// The reference compares which positions were chosen, not what was sent there, with fixed limits: a copy with
/// other positions passes, and so does a run in which all are less alike than it expects.
pub fn find(candidates: &[Candidate], layout: &Layout, seed: &[u8; 32], limit: f64) -> Vec<Pair> {
    let mut comparison = Comparison::new(layout, seed, limit);
    candidates.iter().for_each(|candidate| comparison.add(candidate.hotkey, candidate.tensors));
    comparison.pairs()
}

/// [`find`], where not all objects are in memory at once.
#[derive(Debug)]
pub struct Comparison<'a> {
    layout: &'a Layout,
    limit: f64,
    chunks: Vec<(usize, usize)>,
    profiles: Vec<(Hotkey, Profile)>,
}

impl<'a> Comparison<'a> {
    /// Nothing to compare yet.
    pub fn new(layout: &'a Layout, seed: &[u8; 32], limit: f64) -> Self {
        let chunks = if limit > 1.0 { Vec::new() } else { drawn(layout, seed) };
        Self { layout, limit, chunks, profiles: Vec::new() }
    }

    /// Whether anything can overlap too much.
    pub fn is_needed(&self) -> bool {
        self.limit <= 1.0
    }

    /// Adds an object: its coefficients, in the layout's order.
    pub fn add(&mut self, hotkey: &Hotkey, tensors: &[SparseTensor]) {
        if self.is_needed() {
            self.profiles.push((hotkey.clone(), profile(tensors, self.layout, &self.chunks)));
        }
    }

    /// The pairs whose similarity is at least the limit, in the order of their hotkeys.
    pub fn pairs(mut self) -> Vec<Pair> {
        self.profiles.sort_by(|(one, _), (other, _)| one.cmp(other));
        let (sorted, profiles): (Vec<Hotkey>, Vec<Profile>) = self.profiles.into_iter().unzip();
        compare(&sorted, &profiles, self.limit)
    }
}

fn compare(sorted: &[Hotkey], profiles: &[Profile], limit: f64) -> Vec<Pair> {
    let mut pairs = Vec::with_capacity(profiles.len() * profiles.len() / 2);
    // One profile at a time is spread out, so that a cosine is a walk along the other.
    let places = profiles.iter().flatten().map(|(place, _)| *place as usize + 1).max().unwrap_or(0);
    let mut spread = vec![0f32; places];
    for (second, b) in profiles.iter().enumerate() {
        b.iter().for_each(|(place, value)| spread[*place as usize] = *value);
        pairs.extend(
            profiles[..second].iter().enumerate().map(|(first, a)| (first, second, cosine(a, &spread))),
        );
        b.iter().for_each(|(place, _)| spread[*place as usize] = 0.0);
    }
    let usual = if sorted.len() < FEW { 0.0 } else { median(pairs.iter().map(|(.., c)| *c).collect()) };
    let limit = if sorted.len() < FEW { limit.max(ALL_BUT_EQUAL) } else { limit };
    let mut found: Vec<Pair> = pairs
        .into_iter()
        .map(|(a, b, c)| (a, b, (c - usual) / (1.0 - usual).max(1e-9)))
        .filter(|(.., excess)| *excess >= limit)
        .map(|(a, b, excess)| Pair {
            hotkeys: [sorted[a].clone(), sorted[b].clone()],
            similarity: excess.min(1.0),
        })
        .collect();
    found.sort_by(|a, b| a.hotkeys.cmp(&b.hotkeys));
    found
}

/// The coefficients of some chunks: place and value, ascending by place, of unit length in all.
type Profile = Vec<(u32, f32)>;

/// Whether of objects of this layout only a part is compared, which a seed draws.
pub fn is_drawn(layout: &Layout) -> bool {
    layout.tensors().iter().map(TensorLayout::chunks).sum::<usize>() > CHUNKS
}

/// Tensor and chunk of what is compared: all of them, or [`CHUNKS`] drawn ones.
fn drawn(layout: &Layout, seed: &[u8; 32]) -> Vec<(usize, usize)> {
    let tensors = layout.tensors().iter().enumerate();
    let mut all: Vec<(usize, usize)> =
        tensors.flat_map(|(tensor, shape)| (0..shape.chunks()).map(move |chunk| (tensor, chunk))).collect();
    if all.len() > CHUNKS {
        let mut stream = blake3::Hasher::new_keyed(seed).update(b"overlap").finalize_xof();
        let mut bytes = [0; 8];
        for at in 0..CHUNKS {
            stream.fill(&mut bytes);
            let left = (all.len() - at) as u64;
            all.swap(at, at + (u64::from_le_bytes(bytes) % left) as usize);
        }
        all.truncate(CHUNKS);
        all.sort_unstable();
    }
    all
}

fn profile(tensors: &[SparseTensor], layout: &Layout, chunks: &[(usize, usize)]) -> Profile {
    let mut profile = Profile::new();
    let mut place = 0;
    for (index, chunk) in chunks {
        let (Some(tensor), Some(shape)) = (tensors.get(*index), layout.tensors().get(*index)) else {
            continue;
        };
        let (start, range) = (profile.len(), chunk * shape.kept..(chunk + 1) * shape.kept);
        let Some(positions) = tensor.positions.get(range).filter(|_| tensor.has_shape(shape)) else {
            continue;
        };
        let values = tensor.values_of_chunk(shape, *chunk);
        profile.extend(positions.iter().zip(values).map(|(position, v)| (place + u32::from(*position), v)));
        scale(&mut profile[start..]);
        // At most 256 chunks of at most 65536 places.
        place += shape.chunk_len() as u32;
    }
    scale(&mut profile);
    profile
}

fn scale(part: &mut [(u32, f32)]) {
    let norm = part.iter().map(|(_, v)| f64::from(*v).powi(2)).sum::<f64>().sqrt() as f32;
    if norm > 0.0 {
        part.iter_mut().for_each(|(_, v)| *v /= norm);
    }
}

fn cosine(a: &Profile, spread: &[f32]) -> f64 {
    a.iter().map(|(place, value)| f64::from(*value) * f64::from(spread[*place as usize])).sum()
}

/// The lower middle.
fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len().saturating_sub(1) / 2;
    if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(middle, f64::total_cmp).1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::CompressConfig;

    fn layout() -> Layout {
        let compress = CompressConfig::demo(0.9, 8, 8);
        Layout::new(&[("w".to_owned(), vec![64, 64])], &compress, 1).unwrap()
    }

    /// Pseudo-random coefficients; the first `common` of each chunk are everybody's.
    fn object(n: u64, common: usize) -> Vec<SparseTensor> {
        let (mut positions, mut codes) = (Vec::new(), Vec::new());
        for chunk in 0..64u64 {
            let mut hash =
                blake3::Hasher::new().update(&n.to_le_bytes()).update(&chunk.to_le_bytes()).finalize_xof();
            let mut bytes = [0; 16];
            hash.fill(&mut bytes);
            for k in 0..8u16 {
                let own = usize::from(k) >= common;
                positions.push(8 * k + if own { u16::from(bytes[usize::from(k)] & 7) } else { 0 });
                codes.push(0x50 | if own { bytes[usize::from(k) + 8] & 0x87 } else { 0 });
            }
        }
        vec![SparseTensor { positions, codes, ..SparseTensor::default() }]
    }

    fn found(objects: &[Vec<SparseTensor>], limit: f64) -> Vec<(u8, u8)> {
        let keys: Vec<Hotkey> = (0..objects.len()).map(|n| Hotkey::from([n as u8; 32])).collect();
        let candidates: Vec<_> =
            keys.iter().zip(objects).map(|(hotkey, tensors)| Candidate { hotkey, tensors }).collect();
        let key = |hotkey: &Hotkey| AsRef::<[u8]>::as_ref(hotkey)[0];
        let pairs = find(&candidates, &layout(), &[7; 32], limit);
        pairs.iter().map(|p| (key(&p.hotkeys[0]), key(&p.hotkeys[1]))).collect()
    }

    #[test]
    fn a_copy_is_found_among_peers_who_learn_the_same() {
        let mut objects: Vec<_> = (0..6).map(|n| object(n, 5)).collect();
        assert_eq!(found(&objects, 0.5), []);
        objects.push(objects[2].clone());
        assert_eq!(found(&objects, 0.5), [(2, 6)]);
        assert_eq!(found(&objects, 2.0), []);
    }

    #[test]
    fn of_two_only_equals_are_copies() {
        assert_eq!(found(&[object(1, 6), object(2, 6)], 0.5), []);
        assert_eq!(found(&[object(1, 6), object(1, 6)], 0.5), [(0, 1)]);
        assert_eq!(found(&[], 0.5), []);
    }

    #[test]
    fn objects_of_zeros_are_like_nothing() {
        let mut zeros = object(1, 0);
        zeros[0].codes.fill(0);
        assert_eq!(found(&[zeros.clone(), zeros.clone(), zeros, object(2, 0)], 0.5), []);
    }
}
