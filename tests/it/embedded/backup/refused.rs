//! Copies that are not taken for good, and folders that are not begun.

use std::path::Path;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_was_tampered_with_is_not_taken_for_good() {
    let server = Server::start_with(&["--shards", "2"]);
    let group = Group::create(&server, 1).await;
    group.admin.say(&group.name, "hello").await;
    let backup = Backup::new();
    backup.whole(&server).await;
    let [one, two] = [0, 1].map(|shard| backup.file(shard));
    let (bytes, others) = (std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let folder = tempfile::tempdir().unwrap();
    for (content, says) in [
        (Some(flipped), "has not the hash"),
        (Some(bytes[..bytes.len() - 4096].to_vec()), "it was cut"),
        (Some(others), "it was"),
        (None, "is missing"),
    ] {
        match content {
            Some(content) => std::fs::write(&one, content).unwrap(),
            None => std::fs::remove_file(&one).unwrap(),
        }
        let output = backup.verify();
        let line = refusal(&output);
        assert!(line.contains("1 of 2 files"), "{line}");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            told.starts_with("shard 0: ") && told.contains(says),
            "{told}"
        );
        let data = folder.path().join(says);
        let line = refusal(&backup.restore(&data, &[]));
        assert!(
            line.contains(one.to_str().unwrap()) && line.contains("nothing was restored"),
            "{line}"
        );
        std::fs::write(&one, &bytes).unwrap();
    }
    assert!(backup.verify().status.success(), "as it was");

    let manifest = backup.path().join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replacen("\"offset\": ", "\"offset\": 1", 1)).unwrap();
    assert!(refusal(&backup.verify()).contains("manifest.json: is damaged"));
    assert!(
        backup
            .take(&server, &[])
            .await
            .error
            .contains("give another --to"),
        "nor is it written over"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_was_broken_off_is_begun_anew_and_nothing_starts_before() {
    let server = Server::start_with(&[]);
    let group = Group::create(&server, 1).await;
    group.admin.say(&group.name, "hello").await;
    let (backup, folder) = (Backup::new(), tempfile::tempdir().unwrap());
    backup.whole(&server).await;
    let data = folder.path().join("data");
    // Broken off at a file that is not as it should be, after the folder was begun.
    let file = backup.file(7);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[1..]).unwrap();
    refusal(&backup.restore(&data, &[]));
    assert!(data.join("restoring.json").exists());
    let line = refusal(&start_on(&data));
    assert!(line.contains("restore that was not finished"), "{line}");

    std::fs::write(&file, &bytes).unwrap();
    let restored = Process::start_on(&[], |data| {
        std::fs::rename(folder.path().join("data"), data).unwrap();
        backup.restored(data, &[]);
        assert!(!data.join("restoring.json").exists());
        let line = refusal(&backup.restore(data, &[]));
        assert!(
            line.contains("is not empty") && line.contains("--data"),
            "{line}"
        );
    });
    let restored = Server::One(restored);
    let history = restored
        .client(group.admin.user())
        .history(&group.name, "")
        .await;
    assert_eq!(history["items"][0]["text"], "hello");
}

/// A process on a folder that it refuses.
fn start_on(data: &Path) -> std::process::Output {
    let ports = [
        "--listen",
        "127.0.0.1:0",
        "--operations-listen",
        "127.0.0.1:0",
    ];
    command(&std::env::temp_dir())
        .arg("dev")
        .args(ports)
        .arg("--data")
        .arg(data)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_for_who_holds_the_key_and_a_folder_for_one_cluster() {
    let (server, other) = (
        Server::start_with(&["--shards", "2"]),
        Server::start_with(&["--shards", "2"]),
    );
    let backup = Backup::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("cluster-key"),
        "another key, which is long enough for one 0123456789",
    )
    .unwrap();
    backup.whole(&server).await;
    let process = server.process();
    let operations = format!("http://{}", process.operations());
    let mut command =
        crate::support::backup::rookery(&["backup", "--operations", &operations, "--to"]);
    let refused = command
        .arg(folder.path().join("to"))
        .arg("--data")
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(
        refusal(&refused).contains("must prove the cluster key"),
        "{}",
        said(&refused)
    );
    assert!(!folder.path().join("to/manifest.json").exists());

    let before = backup.manifest();
    let told = backup.take(&other, &[]).await;
    assert!(
        told.code == Some(1) && told.error.contains("give another --to"),
        "{told:?}"
    );
    assert_eq!(backup.manifest(), before);
    assert!(backup.verify().status.success());
}
