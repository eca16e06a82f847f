//! How likely a model finds continuations of contexts: many at once, what they share read once.
//!
//! Requests are put in the order of their tokens, so that those with a common beginning stand together. A pass takes a pack of
//! them as one tree: every token of a common beginning is there once, each token sees its ancestors and nothing else, and its
//! position is its depth. So there is no padding, a question with four answers is read once, and what all requests begin with
//! (examples, instructions) is read once for all packs. Logits are computed only where a continuation's token is predicted.

use super::{
    Llama, few, floats,
    forward::{self, Rope},
};
use tch::Tensor;

/// Tokens of a text, and how likely which end of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Tokens that are given; at least one.
    pub context: Vec<i64>,
    /// Tokens that are predicted.
    pub continuation: Vec<i64>,
}

/// What a model says to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Sum over the continuation's tokens of the natural logarithm of their probabilities.
    pub log_likelihood: f64,
    /// Whether each of them is the likeliest.
    pub greedy: bool,
}

/// A beginning that all requests share is kept from here on.
const WORTH_KEEPING: usize = 16;
/// Logits that are held at once.
const MOST_LOGITS: usize = 1 << 25;

/// A request as the model reads it: no more tokens than it has positions, cut at the front, and without the last one.
struct Read<'a> {
    number: usize,
    tokens: Vec<i64>,
    /// The last of the continuation's tokens; each follows one of the last of `tokens`.
    predicted: &'a [i64],
    /// Whether tokens at its front were left out.
    cut: bool,
}

impl Read<'_> {
    /// Place of the first token after which something is predicted.
    fn first(&self) -> usize {
        self.tokens.len() - self.predicted.len()
    }
}

/// Tokens of several requests, as a tree.
#[derive(Default)]
struct Pack {
    tokens: Vec<i64>,
    /// Depth of each token, counted from the text's first.
    positions: Vec<i64>,
    parents: Vec<Option<usize>>,
    /// For each prediction: the token that it follows, the token that is predicted, the request.
    predictions: Vec<(usize, i64, usize)>,
}

/// Answers requests, in their order. `budget` is the number of tokens of a pass; `told` hears how many requests were answered
/// in each.
///
/// A text longer than the model's positions is cut at its front; a request without a continuation has likelihood 1.
pub fn answer(
    model: &Llama,
    requests: &[Request],
    budget: usize,
    mut told: impl FnMut(usize),
) -> Vec<Answer> {
    let most = model.config().sequence_length as usize;
    let mut answers = vec![Answer { log_likelihood: 0.0, greedy: true }; requests.len()];
    let numbered = requests.iter().enumerate();
    let reads: Vec<Read<'_>> = numbered.filter_map(|(n, request)| read(n, request, most)).collect();
    told(requests.len() - reads.len());
    // What is cut begins anywhere: among the others it would hide what they share.
    let (cut, whole): (Vec<_>, Vec<_>) = reads.into_iter().partition(|read| read.cut);
    for mut reads in [whole, cut] {
        reads.sort_by(|a, b| a.tokens.cmp(&b.tokens));
        tch::no_grad(|| {
            let shared = shared_beginning(&reads);
            let kept = (shared > 0).then(|| Kept::new(model, &reads[0].tokens[..shared]));
            for pack in packs(&reads, shared, budget.max(1)) {
                let tree = tree(pack, shared);
                for ((_, _, number), (log_likelihood, greedy)) in
                    tree.predictions.iter().zip(predictions(model, kept.as_ref(), &tree))
                {
                    answers[*number].log_likelihood += log_likelihood;
                    answers[*number].greedy &= greedy;
                }
                told(pack.len());
            }
        });
    }
    answers
}

fn read(number: usize, request: &Request, most: usize) -> Option<Read<'_>> {
    let predicted = &request.continuation[request.continuation.len().saturating_sub(most)..];
    if predicted.is_empty() {
        return None;
    }
    let mut tokens: Vec<i64> = request.context.iter().chain(&request.continuation).copied().collect();
    tokens.pop();
    let cut = tokens.len() > most;
    tokens.drain(..tokens.len().saturating_sub(most));
    // A continuation needs a token that it follows.
    let predicted = &predicted[predicted.len().saturating_sub(tokens.len())..];
    (!predicted.is_empty()).then_some(Read { number, tokens, predicted, cut })
}

/// Tokens that two texts begin with.
fn common(a: &[i64], b: &[i64]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Tokens that all requests begin with and after which nothing is predicted yet; 0 where keeping them saves little.
fn shared_beginning(reads: &[Read<'_>]) -> usize {
    let [first, .., last] = reads else { return 0 };
    // They are in order, so what the first and the last share all share.
    let shared = common(&first.tokens, &last.tokens);
    let shared = reads.iter().map(Read::first).fold(shared, usize::min);
    if shared < WORTH_KEEPING { 0 } else { shared }
}

/// Cuts requests into packs of about `budget` tokens, not between those that share most of their text.
fn packs<'a, 'b>(
    reads: &'a [Read<'b>],
    shared: usize,
    budget: usize,
) -> impl Iterator<Item = &'a [Read<'b>]> {
    let mut rest = reads;
    std::iter::from_fn(move || {
        let (mut tokens, mut count) = (0, 0);
        while count < rest.len() {
            let (more, size) = cluster(&rest[count..], shared, budget);
            if count > 0 && tokens + size > budget {
                break;
            }
            (tokens, count) = (tokens + size, count + more);
        }
        let (pack, left) = rest.split_at(count);
        rest = left;
        (!pack.is_empty()).then_some(pack)
    })
}

/// How many of the first requests share most of their text, and their tokens: no more than `budget` beside the first's.
fn cluster(reads: &[Read<'_>], shared: usize, budget: usize) -> (usize, usize) {
    let Some(first) = reads.first() else { return (0, 0) };
    let most = first.tokens.len() - shared + budget;
    let (mut count, mut size) = (1, first.tokens.len() - shared);
    for pair in reads.windows(2) {
        let same = common(&pair[0].tokens, &pair[1].tokens);
        let more = pair[1].tokens.len() - same;
        if 2 * (same - shared) <= pair[0].tokens.len() - shared || size + more > most {
            break;
        }
        (count, size) = (count + 1, size + more);
    }
    (count, size)
}

/// The tree of requests, which are in the order of their tokens, below what is kept.
fn tree(reads: &[Read<'_>], shared: usize) -> Pack {
    let mut pack = Pack::default();
    // Where each token of the last request is in the tree, from the first that is not kept.
    let mut path: Vec<usize> = Vec::new();
    let mut before: &[i64] = &[];
    for read in reads {
        let same = common(before, &read.tokens).max(shared);
        path.truncate(same - shared);
        for (position, token) in read.tokens.iter().enumerate().skip(same) {
            pack.parents.push(path.last().copied());
            pack.positions.push(position as i64);
            path.push(pack.tokens.len());
            pack.tokens.push(*token);
        }
        for (place, token) in (read.first()..).zip(read.predicted) {
            pack.predictions.push((path[place - shared], *token, read.number));
        }
        before = &read.tokens;
    }
    pack
}

/// Keys and values of a beginning, for each layer.
struct Kept {
    length: i64,
    layers: Vec<(Tensor, Tensor)>,
}

impl Kept {
    fn new(model: &Llama, tokens: &[i64]) -> Self {
        let (config, length) = (model.config(), tokens.len() as i64);
        let tokens = Tensor::from_slice(tokens).view([1, -1]).to_device(model.device());
        let shared = config.heads / config.kv_heads;
        let mut layers = Vec::new();
        let angles = model.rope.range(0, length);
        let _ = forward::hidden(
            config,
            model.parameters(),
            few::libtorch,
            &angles,
            &tokens,
            |_, query, key, value| {
                let (key, value) = (forward::repeated(key, shared), forward::repeated(value, shared));
                let seen = forward::attend(&query, &key, &value, None, true);
                layers.push((key, value));
                seen
            },
        );
        Self { length, layers }
    }
}

/// Logarithm of the probability of each prediction of a pack, and whether it is the likeliest token.
fn predictions(model: &Llama, kept: Option<&Kept>, pack: &Pack) -> Vec<(f64, bool)> {
    let (config, device) = (model.config(), model.device());
    let number = |values: &[i64]| Tensor::from_slice(values).to_device(device);
    let tokens = number(&pack.tokens).view([1, -1]);
    let before = kept.map_or(0, |kept| kept.length);
    let mask = mask(&pack.parents, before).to_device(device);
    let rope: &Rope = &model.rope;
    let angles = rope.at(&number(&pack.positions));
    let shared = config.heads / config.kv_heads;
    let hidden = forward::hidden(
        config,
        model.parameters(),
        few::libtorch,
        &angles,
        &tokens,
        |layer, query, key, value| {
            let (mut key, mut value) = (forward::repeated(key, shared), forward::repeated(value, shared));
            if let Some((keys, values)) = kept.and_then(|kept| kept.layers.get(layer)) {
                (key, value) = (Tensor::cat(&[keys, &key], 2), Tensor::cat(&[values, &value], 2));
            }
            forward::attend(&query, &key, &value, Some(&mask), false)
        },
    );
    // Several predictions may follow one token: its logits are computed once.
    let mut places: Vec<usize> = pack.predictions.iter().map(|(place, _, _)| *place).collect();
    places.sort_unstable();
    places.dedup();
    let rows = (MOST_LOGITS / config.vocab_size as usize).max(1);
    let mut found = vec![(0.0, false); pack.predictions.len()];
    for part in places.chunks(rows) {
        let indices: Vec<i64> = part.iter().map(|place| *place as i64).collect();
        let states = hidden.select(0, 0).index_select(0, &number(&indices));
        let logits = forward::head(config, model.parameters(), few::libtorch, &states);
        let wanted: Vec<(usize, i64, i64)> = pack
            .predictions
            .iter()
            .enumerate()
            .filter_map(|(at, (place, token, _))| {
                part.binary_search(place).ok().map(|row| (at, row as i64, *token))
            })
            .collect();
        let (rows, ids): (Vec<i64>, Vec<i64>) = wanted.iter().map(|(_, row, token)| (*row, *token)).unzip();
        let (rows, ids) = (number(&rows), number(&ids));
        let chosen = logits.index(&[Some(&rows), Some(&ids)]);
        let chosen = chosen - logits.logsumexp(-1, false).index_select(0, &rows);
        let likeliest = logits.argmax(-1, false).index_select(0, &rows).eq_tensor(&ids);
        let (chosen, likeliest) = (floats(&chosen), floats(&likeliest));
        for ((at, _, _), (log, likeliest)) in wanted.iter().zip(chosen.iter().zip(likeliest)) {
            found[*at] = (f64::from(*log), likeliest > 0.5);
        }
    }
    found
}

/// What each token of a tree sees: what is kept, its ancestors and itself; `[tokens, before + tokens]`.
fn mask(parents: &[Option<usize>], before: i64) -> Tensor {
    let (count, kept) = (parents.len(), before as usize);
    let width = kept + count;
    let mut seen = vec![false; count * width];
    for (token, parent) in parents.iter().enumerate() {
        let (above, own) = seen.split_at_mut(token * width);
        match parent {
            Some(parent) => own[..kept + token].copy_from_slice(&above[parent * width..][..kept + token]),
            None => own[..kept].fill(true),
        }
        own[kept + token] = true;
    }
    Tensor::from_slice(&seen).view([count as i64, width as i64])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{ManifestFile, ModelConfig};
    use tch::{Device, Kind};

    /// One text at a time, and nothing shared.
    fn plainly(model: &Llama, request: &Request) -> Answer {
        let most = model.config().sequence_length as usize;
        let all: Vec<i64> = request.context.iter().chain(&request.continuation).copied().collect();
        let all = &all[all.len().saturating_sub(most + 1)..];
        let tokens = Tensor::from_slice(&all[..all.len() - 1]).view([1, -1]);
        let logs = tch::no_grad(|| model.logits(&tokens)).select(0, 0).log_softmax(-1, Kind::Float);
        let count = request.continuation.len();
        let mut answer = Answer { log_likelihood: 0.0, greedy: true };
        for (place, token) in (all.len() - 1 - count..).zip(&request.continuation) {
            let row = logs.select(0, place as i64);
            answer.log_likelihood += row.double_value(&[*token]);
            answer.greedy &= row.argmax(0, false).int64_value(&[]) == *token;
        }
        answer
    }

    #[test]
    fn trees_answer_as_texts_alone() {
        let local = ManifestFile::preset("local").unwrap().parsed.model;
        let config = ModelConfig { sequence_length: 48, kv_heads: 2, initial_std: 0.2, ..local };
        let model = Llama::new(&config, 3, Device::Cpu);
        let text = |from: i64, count: i64| (from..from + count).map(|t| t * 37 % 251).collect::<Vec<_>>();
        let mut requests = Vec::new();
        for question in 0..12 {
            for answer in 0..4 {
                let context = [text(500, 20), text(question * 7, 3 + question)].concat();
                requests.push(Request { context, continuation: text(900 + answer, 1 + answer) });
            }
        }
        // One that is another's beginning, the same twice, one token of context, one too long.
        let first = Request { context: requests[0].context[..22].to_vec(), ..requests[0].clone() };
        let others = [
            first,
            requests[5].clone(),
            Request { context: text(500, 20), continuation: text(520, 5) },
            Request { context: [text(500, 20), text(3, 60)].concat(), continuation: text(7, 9) },
        ];
        requests.extend(others);
        let check = |requests: &[Request], budget: usize| {
            let mut heard = 0;
            let answers = answer(&model, requests, budget, |more| heard += more);
            assert_eq!((answers.len(), heard), (requests.len(), requests.len()));
            for (request, found) in requests.iter().zip(&answers) {
                let alone = plainly(&model, request);
                let far = (found.log_likelihood - alone.log_likelihood).abs();
                assert!(far < 1e-3 && found.greedy == alone.greedy, "{far} of {alone:?}: {request:?}");
            }
            answers
        };
        // The cut one shares nothing; without it there is a beginning that is kept.
        for budget in [1, 60, 4000] {
            check(&requests, budget);
            check(&requests[..requests.len() - 1], budget);
        }
        // One is predicted after the twentieth.
        assert_eq!(shared(&requests[..requests.len() - 1]), 19);
        // What the model would say is found to be that.
        let mut tokens = text(500, 20);
        for _ in 0..4 {
            let logits = tch::no_grad(|| model.logits(&Tensor::from_slice(&tokens).view([1, -1])));
            tokens.push(logits.select(1, tokens.len() as i64 - 1).argmax(-1, false).int64_value(&[0]));
        }
        let said = Request { context: tokens[..20].to_vec(), continuation: tokens[20..].to_vec() };
        assert!(check(&[said], 10)[0].greedy);
        let none = Request { context: vec![1], continuation: vec![] };
        assert_eq!(answer(&model, &[none], 10, |_| ()), [Answer { log_likelihood: 0.0, greedy: true }]);
    }

    fn shared(requests: &[Request]) -> usize {
        let mut reads: Vec<_> = requests.iter().filter_map(|request| read(0, request, 48)).collect();
        reads.sort_by(|a, b| a.tokens.cmp(&b.tokens));
        shared_beginning(&reads)
    }

    #[test]
    fn questions_stay_whole() {
        let request = |question: i64, answer: i64| Request {
            context: (0..10).map(|t| question * 100 + t).collect(),
            continuation: vec![answer, 1],
        };
        let requests: Vec<_> = (0..6).flat_map(|q| (0..4).map(move |a| request(q, a))).collect();
        let reads: Vec<_> = requests.iter().filter_map(|request| read(0, request, 48)).collect();
        // 10 tokens of context and one of each answer.
        assert_eq!(cluster(&reads, 0, 100), (4, 14));
        let sizes = |budget| packs(&reads, 0, budget).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(30), [8, 8, 8]);
        assert_eq!(sizes(4), [4; 6]);
        // However much they share, a pass is bounded.
        let alike: Vec<_> = (0..50)
            .map(|n| Request { context: (0..40).chain([n]).collect(), continuation: vec![1] })
            .collect();
        let long: Vec<_> = alike.iter().filter_map(|request| read(0, request, 48)).collect();
        assert!(packs(&long, 0, 10).all(|pack| tree(pack, 0).tokens.len() <= 51));
        assert_eq!(sizes(1000), [24]);
        assert_eq!(tree(&reads[..4], 0).tokens.len(), 14);
    }
}
