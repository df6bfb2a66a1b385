//! A router with its scripted nodes, and a client that speaks plain HTTP to it.

use super::*;
use crate::router::cors::Origins;
use crate::router::links::{Links, Ways};

/// Reads one message: its first line, headers and body by `content-length`. `None` at the end of
/// the stream.
async fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let (line, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
            let pairs = rest
                .split("\r\n")
                .filter_map(|header| header.split_once(": "));
            let pairs = pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
            let mut seen = Seen {
                line: line.to_owned(),
                headers: pairs.collect(),
                body: Vec::new(),
            };
            let length: usize = seen
                .header("content-length")
                .map_or(0, |length| length.parse().unwrap());
            buffer.drain(..end + 4);
            while buffer.len() < length {
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            }
            seen.body = buffer.drain(..length).collect();
            return Some(seen);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// A router with its table, drained when the test ends.
pub(super) struct Stand {
    pub(super) address: SocketAddr,
    pub(super) router: Router,
    pub(super) shelf: Arc<Shelf>,
    pub(super) drain: CancellationToken,
    /// Ends the links.
    pub(super) stop: CancellationToken,
    pub(super) served: JoinHandle<()>,
}

pub(super) fn config() -> Config {
    Config {
        origins: Origins::Localhost,
        drain_window: Duration::from_millis(50),
        ..Config::default()
    }
}

impl Stand {
    pub(super) async fn new(row: &[SocketAddr]) -> Self {
        Self::with(config(), table(1, row)).await
    }

    /// The poll is so slow that only the first one, hints and failures load the table.
    pub(super) async fn with(config: Config, table: Option<Table>) -> Self {
        Self::verifying(config, table, None).await
    }

    pub(super) async fn verifying(
        config: Config,
        table: Option<Table>,
        verifier: Option<Verifier>,
    ) -> Self {
        let shelf = Arc::new(Shelf::default());
        let expected = table.is_some();
        shelf.put(table);

        let drain = CancellationToken::new();
        let store = Arc::clone(&shelf);
        let directory = Directory::follow(store, Duration::from_secs(3600), drain.clone());
        let stop = CancellationToken::new();
        let links = Links::new(
            Ways::Sockets(key()),
            directory.clone(),
            link::Config::front(),
            stop.clone(),
        );

        let router = Router::new(config, directory.clone(), links, verifier);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (serving, draining) = (router.clone(), drain.clone());
        let served = tokio::spawn(async move { serving.serve(listener, draining).await });

        while expected && directory.table().is_none() {
            timeout(Duration::from_millis(5), directory.changed())
                .await
                .unwrap_or_default();
        }

        Self {
            address,
            router,
            shelf,
            drain,
            stop,
            served,
        }
    }

    pub(super) async fn client(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.address).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    /// One request on a connection of its own. `head` is the first line without version, then
    /// headers, a line each.
    pub(super) async fn ask(&self, head: &str, body: &str) -> Seen {
        self.client().await.ask(head, body).await
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.drain.cancel();
        self.stop.cancel();
    }
}

/// A client's connection.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(super) async fn ask(&mut self, head: &str, body: &str) -> Seen {
        self.send(head, body).await;
        self.answer()
            .await
            .expect("an answer, not a dropped connection")
    }

    pub(super) async fn send(&mut self, head: &str, body: &str) {
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let mut all = format!("{line} HTTP/1.1\r\nhost: rookery\r\n");
        for header in headers
            .lines()
            .map(str::trim)
            .filter(|header| !header.is_empty())
        {
            all.push_str(&format!("{header}\r\n"));
        }

        if !body.is_empty() {
            all.push_str(&format!("content-length: {}\r\n", body.len()));
        }

        self.stream
            .write_all(format!("{all}\r\n{body}").as_bytes())
            .await
            .unwrap();
    }

    pub(super) async fn answer(&mut self) -> Option<Seen> {
        timeout(PATIENCE, read_message(&mut self.stream, &mut self.buffer))
            .await
            .expect("in time")
    }

    /// Everything up to the end of the connection.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.buffer);
        timeout(PATIENCE, self.stream.read_to_end(&mut rest))
            .await
            .expect("an end")
            .unwrap_or_default();
        rest
    }
}
