//! The loss figure's machinery on a model of a few thousand weights.
use tch::Device;
use templar::{
    data::Corpus,
    lab::{self, Conduct, Contender, Curve, Setup, Task, Text},
};

fn task() -> Task {
    let mut task = Task::named("tiny").unwrap();
    (task.model.hidden_size, task.model.intermediate_size, task.model.layers) = (64, 64, 1);
    task.model.sequence_length = 32;
    Task { peers: 5, share: 4, steps: 40, warmup: 4, held_out: 64, every: 10, ..task }
}

/// Text that is easy to learn.
fn corpus(folder: &std::path::Path) -> Corpus {
    let text: String =
        (0..6000).map(|n| format!("the {} of {} is {}\n", n % 7, n % 5, n % 7 + n % 5)).collect();
    let file = folder.join("text.txt");
    std::fs::write(&file, text).unwrap();
    Corpus::prepare(&[file], &folder.join("corpus"), 1_000_000).unwrap();
    Corpus::open(&folder.join("corpus")).unwrap()
}

fn run(task: &Task, setup: &Setup, corpus: &Corpus) -> Curve {
    let sequences = corpus.sequences(task.model.sequence_length as usize, task.held_out).unwrap();
    let text = Text::new(sequences, task, 3, Device::Cpu).unwrap();
    lab::run(task, setup, &text, 3, |_| ()).unwrap()
}

#[test]
fn every_contender_learns_from_the_same_tokens_and_says_what_it_sent() {
    let (task, folder) = (task(), tempfile::tempdir().unwrap());
    let corpus = corpus(folder.path());
    let mut bytes = Vec::new();
    for contender in Contender::ALL {
        let setup = Setup::plain(contender.trials(&task)[2].clone());
        let curve = run(&task, &setup, &corpus);
        let (first, last) = (curve.points[0], *curve.points.last().unwrap());
        println!("{}: {:.3} -> {:.3} nats, {} bytes", contender.name(), first.loss, last.loss, last.bytes);
        assert!(last.loss < first.loss - 0.3, "{contender:?}: {curve:?}");
        assert_eq!((last.step, last.tokens), (40, 40 * 5 * 4 * 32));
        assert_eq!(run(&task, &setup, &corpus), curve, "the same again");
        bytes.push(last.bytes as f64 / (40.0 * 4.0 * curve.parameters as f64));
    }
    // Of float32: all, and what the codec leaves of it.
    assert_eq!(bytes[0], 1.0);
    assert!(bytes[1] < bytes[2] && bytes[4] < bytes[1] && bytes[3] < 1.0 / 40.0, "{bytes:?}");
}

#[test]
fn gauntlet_keeps_attackers_out() {
    let (task, folder) = (task(), tempfile::tempdir().unwrap());
    let corpus = corpus(folder.path());
    let method = Contender::Dense.trials(&task)[2].clone();
    let conducts = vec![Conduct::Flipped, Conduct::Noise];
    let [with, without] = [true, false].map(|gauntlet| {
        let setup = Setup { method: method.clone(), conducts: conducts.clone(), gauntlet };
        run(&task, &setup, &corpus)
    });
    assert_eq!(without.attackers_aggregated, Some(1.0));
    assert!(with.attackers_aggregated.unwrap() < 0.2, "{with:?}");
    assert!(with.last() < without.last(), "{} {}", with.last(), without.last());
}

#[test]
fn no_token_comes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, mut task) = (corpus(folder.path()), task());
    let sequences = corpus.sequences(task.model.sequence_length as usize, task.held_out).unwrap();
    task.steps = sequences.training() / 20 + 1;
    let error = Text::new(sequences, &task, 3, Device::Cpu).unwrap_err();
    assert!(error.to_string().contains("sequences to train on"), "{error}");
}
