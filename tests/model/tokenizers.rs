//! Tokenizers beside transformers: the same tokens, texts and prompts of conversations.

use crate::{reference::transformers, support};
use std::{fs, process::Command};
use templar::tokenizer::{Message, TextStream, Tokenizer};

#[derive(serde::Deserialize)]
struct Theirs {
    texts: Vec<Text>,
    chats: Vec<Chat>,
    bos: i64,
    eos: i64,
    length: usize,
}

#[derive(serde::Deserialize)]
struct Text {
    text: String,
    ids: Vec<i64>,
    plain: Vec<i64>,
    shown: String,
    whole: String,
}

#[derive(serde::Deserialize)]
struct Chat {
    messages: Vec<Message>,
    prompt: String,
}

#[test]
fn texts_and_conversations_become_the_same_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(transformers())
        .arg(support::script("tokenizers_reference.py"))
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for case in ["byte_level", "gpt2", "sentence_pieces"] {
        let text = fs::read_to_string(folder.path().join(format!("{case}.json"))).unwrap();
        let theirs: Theirs = serde_json::from_str(&text).unwrap();
        let ours = Tokenizer::open(&folder.path().join(case)).unwrap();
        assert_eq!((ours.bos().unwrap().0, ours.eos().unwrap().0), (theirs.bos, theirs.eos), "{case}");
        assert_eq!(ours.len(), theirs.length, "{case}");
        for Text { text, ids, plain, shown, whole } in &theirs.texts {
            assert_eq!(&ours.encode(text, true).unwrap(), ids, "{case}: {text:?}");
            assert_eq!(&ours.encode(text, false).unwrap(), plain, "{case}: {text:?}");
            assert_eq!(&ours.decode(ids, true), shown, "{case}: {text:?}");
            assert_eq!(&ours.decode(ids, false), whole, "{case}: {text:?}");
            // Token after token it is the same text.
            let mut stream = TextStream::new(&ours, &[]);
            let mut come: String = ids.iter().map(|id| stream.push(*id)).collect();
            come += &stream.finish();
            assert_eq!(&come, shown, "{case}: {text:?}");
        }
        assert_eq!(ours.has_chat_template(), !theirs.chats.is_empty());
        for Chat { messages, prompt } in &theirs.chats {
            assert_eq!(&ours.chat_prompt(messages).unwrap(), prompt, "{case}");
        }
        // What the template refuses is said in its words.
        if case == "sentence_pieces" {
            let twice = vec![theirs.chats[0].messages[0].clone(); 2];
            assert!(ours.chat_prompt(&twice).unwrap_err().to_string().contains("Roles must alternate"));
        }
    }
}
