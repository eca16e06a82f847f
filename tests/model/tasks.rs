//! Task files for evaluation, written for these tests: plain questions by the dozen, and awkward ones.

use serde_json::{Value, json};
use std::{fs, path::Path};

const NOUNS: [&str; 12] = [
    "lamp",
    "river",
    "théâtre",
    "engine",
    "cloud",
    "漢字",
    "ladder",
    "kettle",
    "window",
    "naïve robot",
    "mountain",
    "key",
];
const VERBS: [&str; 8] = ["opens", "carries", "breaks", "finds", "paints", "forgets", "repairs", "melts"];
const ADVERBS: [&str; 7] = ["slowly", "twice", "at dawn", "without a sound", "in 1987", "for $3.50", "again"];

fn sentence(number: usize) -> String {
    let noun = |n: usize| NOUNS[n % NOUNS.len()];
    format!(
        "The {} {} the {} {}",
        noun(number * 5 + 1),
        VERBS[number * 3 % VERBS.len()],
        noun(number * 7 + 4),
        ADVERBS[number * 11 % ADVERBS.len()]
    )
}

/// Longer than any model of these tests reads.
fn long() -> String {
    (0..60).map(|n| sentence(n) + ". ").collect()
}

/// Contexts that are awkward: none, spaces, a first token, what has no letters, one too long, marks of other writing systems.
fn context(number: usize) -> String {
    match number {
        3 => String::new(),
        4 => "   ".to_owned(),
        5 => "Ends in spaces  \n ".to_owned(),
        6 => "<s> begins with a token".to_owned(),
        7 => "🏳️‍🌈 😀 e\u{301} \u{200b} مرحبا".to_owned(),
        8 => long(),
        9 => "\n\n\ttabs\tand\nlines".to_owned(),
        _ => sentence(number),
    }
}

/// Continuations that are awkward: equal ones, leading spaces, one letter, long ones, such as begin alike.
fn choices(number: usize, count: usize) -> Vec<String> {
    let plain = |n: usize| sentence(number * 13 + n * 29).split_once(' ').unwrap().1.to_owned();
    (0..count)
        .map(|n| match number {
            10 => "the same".to_owned(),
            11 => format!("{}{}", " ".repeat(n), plain(n)),
            12 => ["x", "é", "漢", "1"][n % 4].to_owned(),
            13 => format!("the river {}", ["runs", "run", "rune", "r"][n % 4]),
            14 => long().chars().take(25 * (n + 1)).collect::<String>().trim().to_owned(),
            15 => format!("{} \n", plain(n)),
            _ => plain(n),
        })
        .collect()
}

fn letters(count: usize) -> Vec<String> {
    (0..count).map(|n| ["A", "B", "C", "D", "E"][n].to_owned()).collect()
}

fn write(path: &Path, rows: impl IntoIterator<Item = Value>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let lines: String = rows.into_iter().map(|row| row.to_string() + "\n").collect();
    fs::write(path, lines).unwrap();
}

/// The subjects of MMLU that the tests have; the others come with [`write_all_subjects`].
pub const SUBJECTS: [&str; 2] = ["abstract_algebra", "us_foreign_policy"];

pub fn write_subject(folder: &Path, subject: &str, questions: usize, shift: usize) {
    let row = |n: usize| {
        let choices = choices(n, 4);
        json!({ "question": context(n), "subject": subject, "choices": choices, "answer": (n * 7 + shift) % 4 })
    };
    let place = folder.join("mmlu").join(subject);
    write(&place.join("test.jsonl"), (shift..shift + questions).map(row));
    write(&place.join("dev.jsonl"), (100..105).map(row));
}

/// Writes `TASK/SPLIT.jsonl` for every task, 24 questions each; `spaces` for some whose continuation is a space.
pub fn write_tasks(folder: &Path, spaces: bool) {
    let asked = 0..24;
    let shown = 200..230;
    let both = |task: &str, split: &str, row: &dyn Fn(usize) -> Value| {
        write(&folder.join(task).join(format!("{split}.jsonl")), asked.clone().map(row));
        write(&folder.join(task).join("train.jsonl"), shown.clone().map(row));
    };
    both("hellaswag", "validation", &|n| {
        let ctx_b = ["he THEN", "", "the ŁAMP", "ßtreet"][n % 4];
        let mut endings = choices(n, 4);
        endings[n % 4] += " [substeps] More  of it. [title] Done [x";
        json!({ "activity_label": format!("Doing {}", n), "ctx_a": context(n), "ctx_b": ctx_b,
                "endings": endings, "label": (n % 4).to_string() })
    });
    both("piqa", "validation", &|n| {
        let [first, second] = &choices(n, 2)[..] else { unreachable!() };
        json!({ "goal": context(n), "sol1": first, "sol2": second, "label": n % 2 })
    });
    for (task, shift) in [("arc_easy", 0), ("arc_challenge", 5)] {
        both(task, "test", &|n| {
            // Some questions have three or five choices, some are numbered.
            let count = 3 + (n + shift) % 3;
            let mut labels = letters(count);
            if n % 5 == 0 {
                labels = (1..=count).map(|n| n.to_string()).collect();
            }
            json!({ "id": format!("q{n}"), "question": context(n), "answerKey": labels[n % count],
                    "choices": { "text": choices(n + shift, count), "label": labels } })
        });
    }
    both("winogrande", "validation", &|n| {
        let end = if n == 12 && spaces { String::new() } else { format!(" {} it. ", VERBS[n % VERBS.len()]) };
        let begin = if n == 3 { "" } else { "Because of it the " };
        json!({ "sentence": format!("{begin}_{end}"), "option1": NOUNS[n % 12], "option2": NOUNS[(n * 5 + 3) % 12],
                "answer": (1 + n % 2).to_string() })
    });
    both("openbookqa", "test", &|n| {
        let key = format!("{}{}", if n % 3 == 0 { " " } else { "" }, letters(4)[n % 4]);
        json!({ "id": n.to_string(), "question_stem": context(n), "answerKey": key,
                "choices": { "text": choices(n, 4), "label": letters(4) } })
    });
    both("sciq", "test", &|n| {
        let [a, b, c, d] = &choices(n, 4)[..] else { unreachable!() };
        let support = if n % 2 == 0 { String::new() } else { format!("  {}", context(n + 1)) };
        json!({ "question": context(n), "support": support, "distractor1": a, "distractor2": b, "distractor3": c,
                "correct_answer": d })
    });
    let word = |n: usize| {
        let text = match n {
            0 => "word".to_owned(),
            1 => "two  spaces  before".to_owned(),
            2 => long().trim().to_owned(),
            3 if spaces => "ends in a space ".to_owned(),
            _ => sentence(n),
        };
        json!({ "text": text })
    };
    write(&folder.join("lambada_openai/test.jsonl"), asked.clone().map(word));
    let text = |n: usize| json!({ "text": (["One text.", " a b ", "x"].get(n).map_or_else(long, |text| (*text).to_owned())) });
    write(&folder.join("own_text/test.jsonl"), (0..4).map(text));
    for (number, subject) in SUBJECTS.into_iter().enumerate() {
        write_subject(folder, subject, 24, number);
    }
}
