//! Text from a model, token after token. Keys and values of what was read are kept, so that each token costs one pass over
//! the weights, and several texts share that pass.

mod sampling;
mod text;

pub use sampling::{Sampling, choose};
pub use text::{Finish, Writing};

use super::{
    Llama, few, floats,
    forward::{self, Rope},
};
use crate::manifest::RopeScaling;
use rand::{SeedableRng, rngs::StdRng};
use tch::{Device, Kind, Tensor};

/// Positions that are kept room for at first; there is room for twice as many whenever they are used up.
const FIRST_CAPACITY: i64 = 64;

/// Texts that a model goes on with, side by side.
#[derive(Debug)]
pub struct Engine<'a> {
    model: &'a Llama,
    rope: Rope,
    /// Keys and values of each layer, `[rows, kv heads, capacity, head width]`; a row may have room for more than was read.
    layers: Vec<(Tensor, Tensor)>,
    rows: Vec<Row>,
    next: u64,
}

/// One text.
#[derive(Debug)]
struct Row {
    id: u64,
    tokens: Vec<i64>,
    /// Tokens whose keys and values are kept.
    read: usize,
    /// Of the next token, once all are read.
    logits: Option<Vec<f32>>,
    rng: StdRng,
    sampling: Sampling,
}

impl<'a> Engine<'a> {
    /// An engine without texts.
    pub fn new(model: &'a Llama) -> Self {
        let config = model.config();
        let rope = Rope::new(config, config.sequence_length, model.device());
        Self { model, rope, layers: Vec::new(), rows: Vec::new(), next: 0 }
    }

    /// Takes a text to go on with; returns its number. An empty one begins with token 0.
    pub fn add(&mut self, prompt: &[i64], sampling: Sampling) -> u64 {
        let tokens = if prompt.is_empty() { vec![0] } else { prompt.to_vec() };
        let rng = StdRng::seed_from_u64(sampling.seed);
        self.next += 1;
        self.rows.push(Row { id: self.next, tokens, read: 0, logits: None, rng, sampling });
        self.next
    }

    /// Texts that it goes on with.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A text, its prompt and what followed.
    pub fn tokens(&self, id: u64) -> &[i64] {
        self.rows.iter().find(|row| row.id == id).map_or(&[], |row| &row.tokens)
    }

    /// Logits of a text's next token, one for each entry of the vocabulary.
    pub fn logits(&mut self, id: u64) -> &[f32] {
        self.read();
        self.rows.iter().find(|row| row.id == id).and_then(|row| row.logits.as_deref()).unwrap_or_default()
    }

    /// Goes on with each text by one token.
    pub fn step(&mut self) -> Vec<(u64, i64)> {
        self.step_with(|_, _, _| ())
    }

    /// [`Self::step`]; `seen` is shown each text's logits and the token that was chosen by them.
    pub fn step_with(&mut self, mut seen: impl FnMut(u64, &[f32], i64)) -> Vec<(u64, i64)> {
        self.read();
        let choose_next = |row: &mut Row| {
            let logits = row.logits.take().unwrap_or_default();
            let token = choose(&logits, &row.sampling, &mut row.rng) as i64;
            seen(row.id, &logits, token);
            row.tokens.push(token);
            (row.id, token)
        };
        self.rows.iter_mut().map(choose_next).collect()
    }

    /// Forgets a text; the last one's keys and values take its place.
    pub fn remove(&mut self, id: u64) {
        let Some(index) = self.rows.iter().position(|row| row.id == id) else { return };
        let last = self.rows.len() - 1;
        if index < last && self.rows[last].read > 0 {
            tch::no_grad(|| {
                for (keys, values) in &self.layers {
                    for kept in [keys, values] {
                        kept.select(0, index as i64).copy_(&kept.select(0, last as i64));
                    }
                }
            });
        }
        self.rows.swap_remove(index);
    }

    /// Reads whatever was not read yet.
    fn read(&mut self) {
        tch::no_grad(|| {
            self.make_room();
            for index in 0..self.rows.len() {
                let row = &self.rows[index];
                if self.turns_anew(row) {
                    let tokens = Tensor::from_slice(&row.tokens).view([1, -1]).to_device(self.model.device());
                    let logits = self.model.logits(&tokens).select(1, row.tokens.len() as i64 - 1);
                    self.rows[index].logits = Some(floats(&logits));
                } else if row.logits.is_none() && row.tokens.len() - row.read > 1 {
                    self.read_row(index);
                }
            }
            let waiting: Vec<usize> =
                (0..self.rows.len()).filter(|index| self.rows[*index].logits.is_none()).collect();
            if !waiting.is_empty() && self.model.device() == Device::Cpu {
                few::writing(|| self.read_last(&waiting));
            } else if !waiting.is_empty() {
                self.read_last(&waiting);
            }
        });
    }

    /// This scaling turns every position anew once a text is longer: what was kept is worth nothing then.
    fn turns_anew(&self, row: &Row) -> bool {
        let scaling = self.model.config().rope_scaling;
        row.logits.is_none()
            && matches!(scaling, Some(RopeScaling::Dynamic { original_length, .. })
                if row.tokens.len() as i64 > original_length)
    }

    /// Room for every text, and one token more.
    fn make_room(&mut self) {
        let config = self.model.config();
        let (rows, longest) = (
            self.rows.len() as i64,
            self.rows.iter().map(|row| row.tokens.len()).max().unwrap_or(0) as i64 + 1,
        );
        let (had_rows, had) = self.layers.first().map_or((0, 0), |(k, _)| (k.size()[0], k.size()[2]));
        let (needed, more) = match config.rope_scaling {
            // Longer texts are turned anew, by angles of their own.
            Some(RopeScaling::Dynamic { original_length, .. }) => {
                (longest.min(original_length), original_length)
            }
            _ => (longest, longest.max(2 * self.rope.length())),
        };
        if needed > self.rope.length() {
            self.rope = Rope::new(config, more, self.model.device());
        }
        if rows <= had_rows && longest <= had {
            return;
        }
        let grown = |needed: i64, had: i64| if needed > had { needed.max(2 * had) } else { had };
        let shape = [
            grown(rows, had_rows),
            config.kv_heads,
            grown(longest.max(FIRST_CAPACITY), had),
            config.hidden_size / config.heads,
        ];
        let room = |kept: Option<&Tensor>| {
            let larger = Tensor::zeros(shape, (Kind::Float, self.model.device()));
            if let Some(kept) = kept {
                larger.narrow(0, 0, had_rows).narrow(2, 0, had).copy_(kept);
            }
            larger
        };
        self.layers = (0..config.layers as usize)
            .map(|layer| {
                let kept = self.layers.get(layer);
                (room(kept.map(|(k, _)| k)), room(kept.map(|(_, v)| v)))
            })
            .collect();
    }

    /// Reads all that is new in one row.
    fn read_row(&mut self, index: usize) {
        let (config, row) = (self.model.config(), &self.rows[index]);
        let (before, length) = (row.read as i64, (row.tokens.len() - row.read) as i64);
        let new = Tensor::from_slice(&row.tokens[row.read..]).view([1, -1]).to_device(self.model.device());
        // Several tokens after others see those, and of each other what came before.
        let mask = (before > 0)
            .then(|| Tensor::ones([length, before + length], (Kind::Bool, new.device())).tril(before));
        let shared = config.heads / config.kv_heads;
        let angles = self.rope.range(before, length);
        let layers = &self.layers;
        let hidden = forward::hidden(
            config,
            self.model.parameters(),
            few::libtorch,
            &angles,
            &new,
            |layer, query, key, value| {
                let (keys, values) = &layers[layer];
                let place = |kept: &Tensor| kept.narrow(0, index as i64, 1).narrow(2, before, length);
                place(keys).copy_(&key);
                place(values).copy_(&value);
                let (key, value) = if before == 0 {
                    (key, value)
                } else {
                    let whole = |kept: &Tensor| kept.narrow(0, index as i64, 1).narrow(2, 0, before + length);
                    (whole(keys), whole(values))
                };
                let (key, value) = (forward::repeated(key, shared), forward::repeated(value, shared));
                forward::attend(&query, &key, &value, mask.as_ref(), before == 0)
            },
        );
        let logits =
            forward::head(config, self.model.parameters(), few::libtorch, &hidden.select(1, length - 1));
        let row = &mut self.rows[index];
        row.read = row.tokens.len();
        row.logits = Some(floats(&logits));
    }

    /// Reads the last token of several rows in one pass.
    fn read_last(&mut self, rows: &[usize]) {
        let config = self.model.config();
        let device = self.model.device();
        let number = |values: Vec<i64>| Tensor::from_slice(&values).to_device(device);
        let count = rows.len() as i64;
        let positions: Vec<i64> = rows.iter().map(|row| self.rows[*row].read as i64).collect();
        let last = |row: &usize| self.rows[*row].tokens.last().copied().unwrap_or(0);
        let tokens = number(rows.iter().map(last).collect()).view([count, 1]);
        let longest = positions.iter().max().copied().unwrap_or(0) + 1;
        let all = rows.len() == self.rows.len();
        let places = number(rows.iter().map(|row| *row as i64).collect());
        // Of rows that are longer than others the shorter do not see the end.
        let mask = positions.iter().any(|position| position + 1 < longest).then(|| {
            let seen = Tensor::arange(longest, (Kind::Int64, device)).view([1, 1, 1, longest]);
            seen.le_tensor(&number(positions.clone()).view([count, 1, 1, 1]))
        });
        let (shared, width) = (config.heads / config.kv_heads, config.hidden_size / config.heads);
        let angles = if mask.is_none() {
            self.rope.range(longest - 1, 1)
        } else {
            self.rope.rows(&number(positions.clone()))
        };
        let positions = number(positions);
        let products = few::for_writing(device);
        let layers = &self.layers;
        let hidden = forward::hidden(
            config,
            self.model.parameters(),
            products,
            &angles,
            &tokens,
            |layer, query, key, value| {
                let kept = |kept: &Tensor, new: &Tensor| {
                    if all && mask.is_none() {
                        kept.narrow(0, 0, count).narrow(2, longest - 1, 1).copy_(new);
                    } else {
                        let indices = [Some(&places), None, Some(&positions)];
                        let _ = kept.shallow_clone().index_put_(&indices, &new.squeeze_dim(2), false);
                    }
                    let seen = kept.narrow(2, 0, longest);
                    if all { seen.narrow(0, 0, count) } else { seen.index_select(0, &places) }
                };
                let (key, value) = (kept(&layers[layer].0, &key), kept(&layers[layer].1, &value));
                // One token sees all that came before it, whatever the order: query heads that share keys stand where
                // positions would, and nothing is copied for them.
                let query = query.view([count, config.kv_heads, shared, width]);
                let seen = forward::attend(&query, &key, &value, mask.as_ref(), false);
                seen.reshape([count, config.heads, 1, width])
            },
        );
        let logits = forward::head(config, self.model.parameters(), products, &hidden.select(1, 0));
        let vocabulary = config.vocab_size as usize;
        for (row, logits) in rows.iter().zip(floats(&logits).chunks(vocabulary)) {
            let row = &mut self.rows[*row];
            row.read = row.tokens.len();
            row.logits = Some(logits.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{ManifestFile, ModelConfig};

    fn bytes_to_tokens(text: &[u8]) -> Vec<i64> {
        text.iter().map(|byte| i64::from(*byte)).collect()
    }

    fn model(rope_scaling: Option<RopeScaling>) -> Llama {
        let local = ManifestFile::preset("local").unwrap().parsed.model;
        let config =
            ModelConfig { sequence_length: 16, kv_heads: 2, initial_std: 0.2, rope_scaling, ..local };
        Llama::new(&config, 3, Device::Cpu)
    }

    #[track_caller]
    fn as_without(engine: &mut Engine, model: &Llama, id: u64) {
        let with = engine.logits(id).to_vec();
        let tokens = Tensor::from_slice(engine.tokens(id)).view([1, -1]);
        let all = tch::no_grad(|| model.logits(&tokens));
        let without = floats(&all.select(1, engine.tokens(id).len() as i64 - 1));
        let far = with.iter().zip(&without).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(with.len() == without.len() && far < 1e-4, "at {}: {far}", engine.tokens(id).len());
    }

    #[test]
    fn what_is_kept_changes_nothing() {
        for scaling in [
            None,
            Some(RopeScaling::Linear { factor: 2.0 }),
            Some(RopeScaling::Dynamic { factor: 2.0, original_length: 16 }),
        ] {
            let model = model(scaling);
            let mut engine = Engine::new(&model);
            let id = engine.add(&bytes_to_tokens(b"a text"), Sampling::default());
            // Past the positions that were trained on, and past the first room, too.
            for _ in 0..80 {
                as_without(&mut engine, &model, id);
                engine.step();
            }
        }
    }

    #[test]
    fn texts_side_by_side_change_nothing() {
        let model = model(Some(RopeScaling::Linear { factor: 2.0 }));
        let mut engine = Engine::new(&model);
        let first = engine.add(&bytes_to_tokens(b"one text"), Sampling::default());
        engine.step();
        let second = engine.add(&bytes_to_tokens(b"x"), Sampling::default());
        engine.step();
        let third = engine.add(&bytes_to_tokens(b"a third text, the longest of all"), Sampling::default());
        for round in 0..40 {
            for id in [first, second, third] {
                if !(id == first && round > 10) {
                    as_without(&mut engine, &model, id);
                }
            }
            engine.step();
            if round == 10 {
                engine.remove(first);
                assert_eq!((engine.len(), engine.tokens(first).len()), (2, 0));
            }
        }
        // Alone, a text is the same.
        let alone = |prompt: &[u8], length: usize| {
            let mut engine = Engine::new(&model);
            let id = engine.add(&bytes_to_tokens(prompt), Sampling::default());
            while engine.tokens(id).len() < length {
                engine.step();
            }
            engine.tokens(id).to_vec()
        };
        assert_eq!(engine.tokens(second), alone(b"x", engine.tokens(second).len()));
    }

    #[test]
    fn a_seed_gives_one_text() {
        let model = model(None);
        let run = |seed| {
            let sampling = Sampling { temperature: 1.0, top_k: 50, top_p: 0.95, seed };
            let mut engine = Engine::new(&model);
            engine.add(&[65], sampling);
            (0..20).map(|_| engine.step()[0].1).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
