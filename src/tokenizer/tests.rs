use super::*;

#[test]
fn bytes_are_their_own_tokens() {
    let tokenizer = Tokenizer::bytes().unwrap();
    assert_eq!(tokenizer.len(), 256);
    let text = "fn main() {\n\t\"é 😀 \u{a0}\u{7f}\r\"; }";
    let tokens = tokenizer.encode(text, true).unwrap();
    assert_eq!(tokens, text.bytes().map(i64::from).collect::<Vec<_>>());
    assert_eq!(tokenizer.decode(&tokens, true), text);
    let all: Vec<i64> = (1..256).collect();
    assert_eq!(tokenizer.decode(&all, true), String::from_utf8_lossy(&(1..=255).collect::<Vec<u8>>()));
    assert_eq!(tokenizer.encode("a<|endoftext|>b", true).unwrap(), [97, 0, 98]);
    assert_eq!((tokenizer.bos().unwrap().0, tokenizer.eos().unwrap()), (0, (0, SEPARATOR)));
    assert!(tokenizer.clone().for_model(256).is_ok());
    assert!(matches!(tokenizer.for_model(200), Err(TokenizerError::OtherVocabulary { tokens: 256, .. })));
}

#[test]
fn a_folder_opens_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = Tokenizer::bytes().unwrap();
    for (name, content) in bytes.files() {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let config = json!({
        "bos_token": { "content": "<|endoftext|>" }, "eos_token": "<|end|>", "add_bos_token": true,
        "added_tokens_decoder": { "256": { "content": "<|end|>", "special": true } },
        "chat_template": [{ "name": "other", "template": "" }, { "name": "default", "template":
            "{{ bos_token }}{% for m in messages %}\n{{ m.role.upper() + ': ' + m['content'].strip() }}\n{% endfor %}\n{{ messages[0]|tojson }}" }],
    });
    fs::write(folder.path().join(CONFIG_FILE), config.to_string()).unwrap();
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    assert_eq!(tokenizer.eos().unwrap(), (256, "<|end|>"));
    // The file has a rule of its own, and that counts.
    assert_eq!(tokenizer.encode("a<|end|>", true).unwrap(), [97, 256]);
    // A model without weights for what was added takes all other texts.
    let smaller = tokenizer.clone().for_model(256).unwrap();
    assert_eq!(smaller.encode("a", true).unwrap(), [97]);
    let refused = [smaller.encode("a<|end|>", true).err(), smaller.encode_batch(vec!["<|end|>"], true).err()];
    assert!(refused.iter().flatten().filter(|e| e.to_string().contains("no token 256")).count() == 2);
    let said = [Message { role: "user".to_owned(), content: " hi ".to_owned() }];
    let prompt = tokenizer.chat_prompt(&said).unwrap();
    assert_eq!(prompt, "<|endoftext|>USER: hi\n{\"role\": \"user\", \"content\": \" hi \"}");
    // Without one, the flags do.
    let mut json: Value =
        serde_json::from_slice(&fs::read(folder.path().join(TOKENIZER_FILE)).unwrap()).unwrap();
    json["post_processor"] = Value::Null;
    fs::write(folder.path().join(TOKENIZER_FILE), json.to_string()).unwrap();
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    assert_eq!(tokenizer.encode("a", true).unwrap(), [0, 97]);
    assert_eq!(tokenizer.encode("a", false).unwrap(), [97]);
    fs::write(folder.path().join(TOKENIZER_FILE), "{").unwrap();
    assert!(matches!(Tokenizer::open(folder.path()), Err(TokenizerError::Format { .. })));
    fs::remove_file(folder.path().join(TOKENIZER_FILE)).unwrap();
    assert!(matches!(Tokenizer::open(folder.path()), Err(TokenizerError::Disk { .. })));
}

#[test]
fn a_template_is_bounded_and_may_refuse() {
    let said = [Message { role: "user".to_owned(), content: "hi".to_owned() }];
    let render = |template: &str| chat::render(template, &said, None, None);
    for (template, words) in [
        ("{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}", "fuel"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% if %}", "unexpected end of block"),
    ] {
        let error = render(template).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let marked = "{% generation %}{{ messages[0].content }}{% endgeneration %}!";
    assert_eq!(render(marked).unwrap(), "hi!");
    assert_eq!(render("{{ strftime_now('%Y') | length }}").unwrap(), "4");
}

#[test]
fn text_comes_in_whole_characters() {
    let tokenizer = Tokenizer::bytes().unwrap();
    let mut stream = TextStream::new(&tokenizer, &tokenizer.encode("a text ", true).unwrap());
    let shown: Vec<String> = "aé😀".bytes().map(|byte| stream.push(byte.into())).collect();
    assert_eq!(shown, ["a", "", "é", "", "", "", "😀"]);
    // Half a character is shown when no more comes, and what will be none is not waited for.
    assert_eq!((stream.push(0xC3), stream.finish()), (String::new(), "\u{fffd}".to_owned()));
    let mut stream = TextStream::new(&tokenizer, &[0xC3]);
    assert_eq!(stream.push(0xA9), "é");
    let shown: String = (0..20).map(|_| stream.push(0x80)).collect();
    assert!(shown.chars().count() >= 16, "{shown}");
    assert_eq!(stream.push(97).chars().last(), Some('a'));
}

#[test]
fn stop_texts_are_never_shown() {
    let mut filter = StopFilter::new(["\n\n".to_owned(), "END".to_owned(), String::new()]);
    let shown: Vec<String> = ["a\n", "b\n", "E", "Nd", "E", "ND more"].map(|text| filter.push(text)).into();
    assert_eq!(shown, ["a", "\nb", "\n", "ENd", "", ""]);
    assert!(filter.stopped());
    assert_eq!(filter.finish(), "");
    let mut filter = StopFilter::new(["END".to_owned()]);
    assert_eq!(
        (filter.push("xEN"), filter.finish(), filter.stopped()),
        ("x".to_owned(), "EN".to_owned(), false)
    );
}
