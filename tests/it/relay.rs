//! A way to the API server on which news can be held back and requests lost.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stormglass::base::lock;
use stormglass::rt::net::{self, OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use stormglass::rt::task::Scope;
use stormglass::rt::time::sleep;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The API server.
const API: &str = "apiserver:6443";
/// Between two looks whether news may go on.
const POLL: Duration = Duration::from_millis(50);

/// What goes through it, and what does not.
#[derive(Default)]
pub struct Relay {
    held: Mutex<Option<&'static str>>,
    lost: Mutex<Option<&'static str>>,
}

impl Relay {
    /// From now on no watch of this plural tells anything.
    pub fn hold(&self, plural: &'static str) {
        *lock(&self.held) = Some(plural);
    }

    /// From now on each connection on which this method is asked for breaks.
    pub fn lose(&self, method: &'static str) {
        *lock(&self.lost) = Some(method);
    }

    /// No method is lost any more.
    pub fn lose_nothing(&self) {
        *lock(&self.lost) = None;
    }

    /// Everything goes through again, what was held back first.
    pub fn open(&self) {
        *lock(&self.held) = None;
        self.lose_nothing();
    }

    /// Listens at `at` and carries what comes to the API server.
    pub async fn run(self: Arc<Self>, at: SocketAddr) {
        let listener = TcpListener::bind(at).await.unwrap();
        let connections = Scope::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            drop(connections.spawn("connection", self.clone().carry(client)));
        }
    }

    /// One connection, until its client ends it.
    async fn carry(self: Arc<Self>, client: TcpStream) {
        let (mut client, to_client) = client.into_split();
        let (server, mut to_server) = net::connect(API).await.unwrap().into_split();
        let (asked, answers) = (Arc::new(Mutex::new(String::new())), Scope::new());
        drop(answers.spawn("answers", self.clone().answer(server, to_client, asked.clone())));
        let mut piece = vec![0; 1 << 16];
        while let Ok(length @ 1..) = client.read(&mut piece).await {
            let text = String::from_utf8_lossy(&piece[..length]);
            if let Some(line) = text.lines().next().filter(|line| line.ends_with(" HTTP/1.1")) {
                if lock(&self.lost).is_some_and(|method| line.starts_with(method)) {
                    return;
                }
                *lock(&asked) = line.into();
            }
            if to_server.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    }

    async fn answer(
        self: Arc<Self>,
        mut server: OwnedReadHalf,
        mut to_client: OwnedWriteHalf,
        asked: Arc<Mutex<String>>,
    ) {
        let mut piece = vec![0; 1 << 16];
        while let Ok(length @ 1..) = server.read(&mut piece).await {
            while self.holds(&lock(&asked)) {
                sleep(POLL).await;
            }
            if to_client.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    }

    fn holds(&self, asked: &str) -> bool {
        asked.contains("watch=true") && lock(&self.held).is_some_and(|plural| asked.contains(&format!("/{plural}?")))
    }
}
