//! The fixtures that pin the format for ever.

use std::path::PathBuf;

use super::*;
use crate::log::record::samples::all_samples;

const WRITE_FIXTURES_VARIABLE: &str = "ROOKERY_WRITE_MISSING_FIXTURES";

// ---- fixtures
// ------------------------------------------------------------------------

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records")
}

/// What is kept beside the bytes. Reasons are left out: their words come from a library.
fn told(entry: &Entry) -> String {
    let lines = entry.numbered().map(|(offset, record)| match record {
        Record::Unreadable { bytes, .. } => format!("{offset} unreadable {bytes:?}\n"),
        readable => format!("{offset} {readable:#?}\n"),
    });
    format!(
        "epoch {} tail {:?}\n{}",
        entry.epoch,
        entry.tail,
        lines.collect::<String>()
    )
}

#[test]
fn every_sample_has_its_fixture_and_still_encodes_to_it() {
    for (name, records) in all_samples() {
        let path = fixtures().join(format!("{name}.entry"));
        let (bytes, _) = sealed(&records);
        if !path.exists() && std::env::var_os(WRITE_FIXTURES_VARIABLE).is_some() {
            let entry = Entry::decode_after(&Tail::EMPTY, &bytes).expect("decodes");
            std::fs::create_dir_all(fixtures()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
            std::fs::write(path.with_extension("txt"), told(&entry)).unwrap();
        }
        let kept = std::fs::read(&path).unwrap_or_else(|error| {
            panic!(
                "no fixture {}: {error}. A released one was lost: restore it. A new sample: run this test once with \
                 {WRITE_FIXTURES_VARIABLE}=1, look at what it wrote, commit it.",
                path.display()
            )
        });
        assert_eq!(
            kept, bytes,
            "{name}: this version writes other bytes than the one that wrote the fixture"
        );
    }
}

#[test]
fn every_fixture_ever_written_reads_as_it_did_and_encodes_to_itself() {
    let mut seen = 0;
    for file in std::fs::read_dir(fixtures()).expect("fixtures") {
        let path = file.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "entry")
        {
            continue;
        }
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        let entry = Entry::decode_after(&Tail::EMPTY, &bytes)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(
            told(&entry),
            std::fs::read_to_string(path.with_extension("txt")).unwrap(),
            "{}",
            path.display()
        );
        let encoded: Vec<Bytes> = entry.records.iter().map(Record::encode).collect();
        assert_eq!(
            seal(&Tail::EMPTY, entry.epoch, &encoded),
            (bytes, entry.tail),
            "{}",
            path.display()
        );
        seen += 1;
    }

    assert!(seen >= all_samples().len());
}
