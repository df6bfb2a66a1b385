//! A tiny server that speaks RESP and answers scripts by a script of its own: for answers that a
//! real server is hard to bring to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::owned::{M, assert_doubt, assert_not_written};
use crate::ids::{Epoch, ShardId};
use crate::log::conformance::batch;
use crate::log::record::Tail;
use crate::log::redis::testing::{config, log};
use crate::log::redis::{CommitLevel, Config, RedisLog};
use crate::log::{AppendError, AppendOutcome, Batch, ShardLog, Token};

/// What a script answers when all is well.
const OK: &str = "*1\r\n$2\r\nOK\r\n";

#[derive(Debug, Default)]
struct Play {
    /// Answers to EVAL and EVALSHA, then [`OK`] for ever. An empty one closes the connection.
    scripts: Mutex<VecDeque<String>>,
    /// Answer to CLUSTER SLOTS.
    slots: Mutex<String>,
    /// First word of each command that came.
    heard: Mutex<Vec<String>>,
}

struct Scripted {
    port: u16,
    play: Arc<Play>,
}

impl Scripted {
    async fn start(scripts: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scripts = scripts.iter().map(|&answer| {
            if answer == OK {
                OK.to_owned()
            } else {
                format!("{answer}\r\n")
            }
        });

        let play = Arc::new(Play {
            scripts: Mutex::new(scripts.collect()),
            ..Play::default()
        });
        let its_play = Arc::clone(&play);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&its_play)));
            }
        });
        Self { port, play }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// All slots are at this one, to believe the answer to CLUSTER SLOTS.
    fn has_all_slots(&self, owner: &Self) {
        let slots = format!(
            "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{}\r\n",
            owner.port
        );
        *self.play.slots.lock().unwrap() = slots;
    }

    fn heard(&self, word: &str) -> usize {
        self.play
            .heard
            .lock()
            .unwrap()
            .iter()
            .filter(|heard| *heard == word)
            .count()
    }
}

async fn serve(socket: TcpStream, play: Arc<Play>) {
    let (from, mut to) = socket.into_split();
    let mut from = BufReader::new(from);

    while let Some(command) = command(&mut from).await {
        let word = command[0].to_uppercase();
        play.heard.lock().unwrap().push(word.clone());
        let answer = match word.as_str() {
            "EVAL" | "EVALSHA" => play
                .scripts
                .lock()
                .unwrap()
                .pop_front()
                .unwrap_or_else(|| OK.to_owned()),
            "WAIT" => ":1\r\n".to_owned(),
            "CLUSTER" => play.slots.lock().unwrap().clone(),
            _ => "+OK\r\n".to_owned(),
        };
        if answer == "\r\n" || to.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads one command; `None` at the end.
async fn command(from: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Vec<String>> {
    let count = number(from).await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; number(from).await? + 2];
        from.read_exact(&mut word).await.ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(words)
}

/// The number of a line such as `*3` or `$12`.
async fn number(from: &mut (impl AsyncBufReadExt + Unpin)) -> Option<usize> {
    let mut line = String::new();
    from.read_line(&mut line).await.ok()?;
    line.trim_end().get(1..)?.parse().ok()
}

fn batches(shards: u16) -> Vec<Batch> {
    let token = Token::new(Epoch(1));
    (0..shards)
        .map(|shard| batch(ShardId(shard), M, token, &Tail::EMPTY, (1, "x")))
        .collect()
}

async fn append(log: &RedisLog, batches: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
    log.append(batches).await
}

#[tokio::test]
async fn a_server_that_does_not_serve_now_is_asked_again() {
    for words in [
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down",
    ] {
        let server = Scripted::start(&[&format!("-{words}")]).await;
        let log = log(&config(&[server.url()]));
        assert_doubt(&append(&log, &batches(1)).await.remove(0), words);
        assert_eq!(
            append(&log, &batches(1)).await,
            [Ok(AppendOutcome::Appended)]
        );
    }
}

#[tokio::test]
async fn of_one_pipeline_some_batches_may_lack_the_script_and_only_those_are_sent_again() {
    let missing = "-NOSCRIPT No matching script.";
    let server = Scripted::start(&[OK, missing, OK, missing, OK, "-OOM command not allowed"]).await;
    let log = log(&Config {
        commit: CommitLevel::Replicated,
        ..config(&[server.url()])
    });
    let answers = append(&log, &batches(4)).await;

    assert_eq!(answers[..3], [const { Ok(AppendOutcome::Appended) }; 3]);
    assert_not_written(&answers[3], "OOM");
    assert_eq!(
        (
            server.heard("EVALSHA"),
            server.heard("EVAL"),
            server.heard("WAIT")
        ),
        (4, 2, 2)
    );
}

#[tokio::test]
async fn a_script_that_is_missing_and_then_not_answered_is_in_doubt() {
    let server = Scripted::start(&["-NOSCRIPT No matching script.", ""]).await;
    let log = log(&config(&[server.url()]));
    assert_doubt(&append(&log, &batches(1)).await.remove(0), "");
}

#[tokio::test]
async fn a_connection_that_ends_within_a_pipeline_leaves_all_of_it_in_doubt() {
    let server = Scripted::start(&[OK, OK, ""]).await;
    let log = log(&config(&[server.url()]));
    for answer in append(&log, &batches(3)).await {
        assert_doubt(&answer, "");
    }
    assert_eq!(
        append(&log, &batches(3)).await,
        [const { Ok(AppendOutcome::Appended) }; 3]
    );
}

#[tokio::test]
async fn a_slot_that_is_split_or_not_served_is_waited_for_and_the_slots_are_read_anew() {
    for words in [
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN The cluster is down",
    ] {
        let server = Scripted::start(&[&format!("-{words}")]).await;
        server.has_all_slots(&server);
        let log = log(&Config {
            cluster: true,
            ..config(&[server.url()])
        });
        assert_doubt(&append(&log, &batches(1)).await.remove(0), words);
        assert_eq!(
            append(&log, &batches(1)).await,
            [Ok(AppendOutcome::Appended)]
        );
    }
}

#[tokio::test]
async fn a_batch_whose_keys_are_elsewhere_is_asked_for_there() {
    let other = Scripted::start(&[]).await;
    let ask = format!("-ASK 5 127.0.0.1:{}", other.port);
    let server = Scripted::start(&[&ask, OK]).await;
    server.has_all_slots(&server);

    let log = log(&Config {
        cluster: true,
        ..config(&[server.url()])
    });

    assert_eq!(
        append(&log, &batches(2)).await,
        [const { Ok(AppendOutcome::Appended) }; 2]
    );
    assert_eq!((other.heard("ASKING"), other.heard("EVALSHA")), (1, 1));

    // The slot itself has not moved.
    assert_eq!(
        append(&log, &batches(2)).await,
        [const { Ok(AppendOutcome::Appended) }; 2]
    );
    assert_eq!((other.heard("EVALSHA"), server.heard("EVALSHA")), (1, 4));
}

#[tokio::test]
async fn a_slot_that_moved_is_gone_to_at_once_and_remembered() {
    let other = Scripted::start(&[]).await;
    let moved = format!("-MOVED 5 127.0.0.1:{}", other.port);
    let server = Scripted::start(&[&moved]).await;
    server.has_all_slots(&server);

    let log = log(&Config {
        cluster: true,
        ..config(&[server.url()])
    });
    let one = &batches(1);

    assert_eq!(append(&log, one).await, [Ok(AppendOutcome::Appended)]);
    assert_eq!(append(&log, one).await, [Ok(AppendOutcome::Appended)]);
    assert_eq!(
        (
            other.heard("EVALSHA"),
            server.heard("EVALSHA"),
            other.heard("ASKING")
        ),
        (2, 1, 0)
    );
}

#[tokio::test]
async fn servers_that_send_a_batch_in_a_circle_leave_it_in_doubt() {
    let (one, two) = (Scripted::start(&[]).await, Scripted::start(&[]).await);
    for (server, other) in [(&one, &two), (&two, &one)] {
        server.has_all_slots(&one);
        let moved = format!("-MOVED 5 127.0.0.1:{}\r\n", other.port);
        server.play.scripts.lock().unwrap().extend(vec![moved; 4]);
    }
    let log = log(&Config {
        cluster: true,
        ..config(&[one.url()])
    });
    assert_doubt(&append(&log, &batches(1)).await.remove(0), "MOVED");
    assert_eq!(one.heard("EVALSHA") + two.heard("EVALSHA"), 2);
}

#[tokio::test]
async fn a_cycle_of_many_bytes_goes_in_several_pipelines_and_stops_at_the_first_that_fails() {
    let token = Token::new(Epoch(1));
    let text = "x".repeat(900_000);
    let large: Vec<Batch> = (0..20)
        .map(|shard| batch(ShardId(shard), M, token, &Tail::EMPTY, (1, &text)))
        .collect();
    let server = Scripted::start(&[]).await;
    let log = log(&Config {
        commit: CommitLevel::Replicated,
        ..config(&[server.url()])
    });

    assert_eq!(
        append(&log, &large).await,
        vec![Ok(AppendOutcome::Appended); 20]
    );
    assert_eq!((server.heard("EVALSHA"), server.heard("WAIT")), (20, 3));

    // The tenth is in the second pipeline, of which nothing counts then.
    let ending = std::iter::repeat_n(OK.to_owned(), 9).chain(["\r\n".to_owned()]);
    server.play.scripts.lock().unwrap().extend(ending);

    let answers = append(&log, &large).await;
    assert!(answers[..9].iter().all(Result::is_ok), "{answers:?}");

    answers[9..]
        .iter()
        .for_each(|answer| assert_doubt(answer, ""));
    assert_eq!((server.heard("EVALSHA"), server.heard("WAIT")), (30, 4));
}

#[test]
fn settings_that_cannot_work_are_refused_with_one_line_without_the_password() {
    let refused = |urls: &[&str], cluster| {
        let urls: Vec<String> = urls.iter().map(|&url| url.to_owned()).collect();
        let config = Config {
            cluster,
            ..config(&urls)
        };
        crate::log::redis::servers::Servers::new(config)
            .map(|_| ())
            .unwrap_err()
    };
    for line in [
        refused(&[], false),
        refused(&["redis://:secret@a:1", "redis://:secret@b:1"], false),
        refused(&["http://:secret@a"], true),
        refused(&["rediss://:secret@a"], false),
        refused(&["redis+unix:///tmp/socket"], true),
    ] {
        assert!(
            line.lines().count() == 1 && !line.contains("secret"),
            "{line}"
        );
    }
}
