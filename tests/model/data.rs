//! The corpus: what is taken as text, that the same files give the same tokens, and how they are cut.

use std::{fs, path::Path};
use templar::data::{Corpus, DataError, assigned, default_sources, sample_id, verify};

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A little registry: three crates, of which one in two versions.
fn registry(root: &Path) {
    write(root, "alpha-1.0.0/src/lib.rs", b"//! Alpha.\n");
    write(root, "alpha-1.0.0/README.md", b"# Alpha\n");
    write(root, "beta-0.1.0/src/lib.rs", b"//! Beta, old.\n");
    write(root, "beta-0.2.0/src/lib.rs", b"//! Beta, new.\n");
    write(root, "beta-0.2.0/README.md", b"# Alpha\n");
    write(root, "gamma-3.0.0/notes.txt", "gr\u{fc}n\n".as_bytes());
    // None of these is text of a folder.
    write(root, "gamma-3.0.0/latin.txt", b"gr\xfcn\n");
    write(root, "gamma-3.0.0/nul.txt", b"a\0b\n");
    write(root, "gamma-3.0.0/empty.md", b" \n");
    write(root, "gamma-3.0.0/table.rs", &b"0x00, ".repeat(50_000));
    write(root, "gamma-3.0.0/image.png", b"text, but not by its name\n");
    write(root, "gamma-3.0.0/.git/config.txt", b"hidden\n");
}

#[test]
fn the_same_files_give_the_same_tokens_wherever_they_lie() {
    let (first, second, out) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    registry(first.path());
    registry(second.path());
    let prepare = |source: &Path, to: &str| {
        Corpus::prepare(&[source.to_owned()], &out.path().join(to), 1 << 20).unwrap()
    };
    let manifest = prepare(first.path(), "a");
    assert_eq!(manifest, prepare(second.path(), "b"));
    assert_eq!(manifest, prepare(first.path(), "a"));
    assert_eq!((manifest.documents, manifest.duplicates), (5, 1));

    let corpus = Corpus::open(&out.path().join("a")).unwrap();
    let text = String::from_utf8(corpus.token_bytes().unwrap()).unwrap();
    let mut documents: Vec<&str> = text.split_terminator('\0').collect();
    assert_eq!(text.len() as u64, manifest.tokens);
    // Two versions of one file stand next to each other, the older one first.
    let old = documents.iter().position(|text| *text == "//! Beta, old.\n").unwrap();
    assert_eq!(documents[old + 1], "//! Beta, new.\n");
    documents.sort_unstable();
    assert_eq!(
        documents,
        ["# Alpha\n", "//! Alpha.\n", "//! Beta, new.\n", "//! Beta, old.\n", "gr\u{fc}n\n"]
    );
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let (root, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(root.path(), "a/text.md", b"once\n");
    std::os::unix::fs::symlink(root.path(), root.path().join("a/loop")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("a/other.txt")).unwrap();
    let manifest = Corpus::prepare(&[root.path().to_owned()], out.path(), 1 << 20).unwrap();
    assert_eq!((manifest.documents, manifest.tokens), (1, 6));
}

#[test]
fn the_limit_is_kept() {
    let (root, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..50 {
        write(root.path(), &format!("{number}.txt"), format!("{number:0>100}").as_bytes());
    }
    let manifest = Corpus::prepare(&[root.path().to_owned()], out.path(), 1000).unwrap();
    assert_eq!((manifest.tokens, manifest.documents), (1000, 10));
    assert_eq!(Corpus::open(out.path()).unwrap().token_bytes().unwrap().len(), 1000);
}

#[test]
fn sequences_share_a_token_and_the_last_are_held_out() {
    let (root, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // 100 bytes and the separator: twelve sequences of 8, and the target of the last token.
    let text: Vec<u8> = (0..100).map(|i| b'!' + i % 90).collect();
    write(root.path(), "named", &text);
    Corpus::prepare(&[root.path().join("named")], out.path(), 1 << 20).unwrap();
    let corpus = Corpus::open(out.path()).unwrap();
    let sequences = corpus.sequences(8, 3).unwrap();
    assert_eq!((sequences.training(), sequences.held_out()), (9, 9..12));
    let tokens = |index: u64| sequences.tokens(index).unwrap();
    assert_eq!(tokens(0), (0..9).map(|i| i64::from(text[i])).collect::<Vec<_>>());
    assert_eq!(tokens(0)[8], tokens(1)[0]);
    assert_eq!(tokens(11), (88..97).map(|i| i64::from(text[i])).collect::<Vec<_>>());
    assert!(matches!(sequences.tokens(u64::MAX), Err(DataError::NoSequence { .. })));
    assert_eq!(sequences.batch(&[11, 0]).unwrap(), [tokens(11), tokens(0)].concat());
    assert!(matches!(
        sequences.batch(&[0, 1 << 60]),
        Err(DataError::NoSequence { index: 1_152_921_504_606_846_976 })
    ));
    assert_eq!(sequences.sample_id(1).unwrap(), sample_id(&text[8..16]));
    // What is assigned can be read, and is not held out.
    for index in assigned(&[1; 32], &[2; 32], 0, 64, sequences.training()) {
        assert!(index < sequences.held_out().start && sequences.tokens(index).is_ok());
    }
    let error = corpus.sequences(8, 12).unwrap_err();
    assert_eq!(error.to_string(), "the corpus has 12 sequences of 8 tokens; 13 are needed");
    // Exactly as many tokens as sequences need.
    assert_eq!(corpus.sequences(100, 0).unwrap().tokens(0).unwrap().last(), Some(&0));
    assert!(matches!(corpus.sequences(101, 0), Err(DataError::TooSmall { .. })));
}

#[test]
fn bad_sources_are_named() {
    let (root, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let prepare = |path: &str| Corpus::prepare(&[root.path().join(path)], out.path(), 1 << 20).unwrap_err();
    write(root.path(), "pictures/a.png", b"x");
    assert!(prepare("pictures").to_string().starts_with("no text was found in "));
    assert!(matches!(prepare("nowhere"), DataError::File { action: "read", .. }));
    write(root.path(), "latin.txt", b"gr\xfcn");
    assert!(prepare("latin.txt").to_string().ends_with("latin.txt is not UTF-8 text"));
    assert!(!out.path().join("corpus.json").exists());
}

#[test]
fn a_corpus_that_was_changed_is_not_opened() {
    let (root, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(root.path(), "a.txt", b"some text to train on\n");
    let prepare = || Corpus::prepare(&[root.path().to_owned()], out.path(), 1 << 20).unwrap();
    let open = || Corpus::open(out.path()).unwrap_err();
    assert!(matches!(open(), DataError::File { .. }));

    prepare();
    let tokens = out.path().join("shard-000000.bin");
    let mut bytes = fs::read(&tokens).unwrap();
    bytes[3] ^= 1;
    fs::write(&tokens, &bytes).unwrap();
    // A corpus may be larger than a start should read; what is wrong shows when it is read.
    let read = Corpus::open(out.path()).unwrap().token_bytes().unwrap_err();
    assert!(read.to_string().contains("the bytes from 0 on are not those"), "{read}");
    assert!(verify(out.path(), |_| {}).unwrap_err().to_string().contains("its hash is "));
    fs::write(&tokens, &bytes[1..]).unwrap();
    assert!(open().to_string().contains("it has 22 bytes instead of 23"));

    prepare();
    let manifest = out.path().join("corpus.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"u8\"", "\"u32\"")).unwrap();
    assert!(open().to_string().contains("its content has the hash "));
    fs::write(&manifest, text.replace("\"version\": 2", "\"version\": 1")).unwrap();
    assert!(open().to_string().contains("it is of version 1, this program reads 2"));
    fs::write(&manifest, "{}").unwrap();
    assert!(matches!(open(), DataError::BadManifest { .. }));
    prepare();
    Corpus::open(out.path()).unwrap();
}

#[test]
fn the_default_text_is_the_same_on_every_machine() {
    let out = tempfile::tempdir().unwrap();
    let limit = 24 << 20;
    let manifest = Corpus::prepare(&default_sources().unwrap(), out.path(), limit).unwrap();
    assert_eq!(manifest.tokens, limit);
    assert!(manifest.documents > 1000);
    // Other versions in Cargo.lock are another text: then the figures of docs/ are to be measured again.
    assert_eq!(
        manifest.shards[0].hash, "9fad06b6673b1f812000ea314190508462a40a888a2d1005da852c29fe4d5786",
        "the default text is another one"
    );
    let corpus = Corpus::open(out.path()).unwrap();
    assert!(corpus.sequences(128, 256).unwrap().training() > 40_000);
}
