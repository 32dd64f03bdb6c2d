//! A proxy in front of PostgreSQL that counts how often a client has to wait for it, and can fall silent.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dev::testing::TestDatabase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Larger than anything the tests send, so that one write of the client's is one read here.
const BUFFER_BYTES: usize = 64 * 1024;

pub struct Proxy {
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    flushes: AtomicUsize,
    bytes: AtomicUsize,
    silent: AtomicBool,
    /// The flush that breaks its connection; none when 0.
    breaks_at: AtomicUsize,
    open: watch::Sender<usize>,
}

impl Proxy {
    /// Listens until the test ends.
    pub async fn before(database: &TestDatabase) -> Self {
        let config: tokio_postgres::Config = database.owner_url.parse().unwrap();
        let server = config.get_ports()[0];
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let all = seen.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                all.connections.fetch_add(1, Ordering::SeqCst);
                let seen = all.clone();
                // Whichever side breaks the connection, the other side learns it.
                tokio::spawn(async move {
                    seen.open.send_modify(|open| *open += 1);
                    seen.pass(client, server).await.ok();
                    seen.open.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { port, seen }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections have been opened.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// How many of them are open.
    pub fn open(&self) -> usize {
        *self.seen.open.borrow()
    }

    /// Waits until none is open.
    pub async fn all_closed(&self) {
        self.seen.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
    }

    /// How often a client has spoken after it had heard the server: each time cost it a round trip.
    pub fn flushes(&self) -> usize {
        self.seen.flushes.load(Ordering::SeqCst)
    }

    /// How many bytes the clients have sent.
    pub fn bytes(&self) -> usize {
        self.seen.bytes.load(Ordering::SeqCst)
    }

    /// Breaks the connection at the nth flush from now on, before the server hears of it.
    pub fn break_at_flush(&self, nth: usize) {
        self.seen.breaks_at.store(self.flushes() + nth, Ordering::SeqCst);
    }

    /// From now on, or no longer: takes every byte, passes none on and closes nothing.
    pub fn set_silent(&self, silent: bool) {
        self.seen.silent.store(silent, Ordering::SeqCst);
    }
}

impl Seen {
    async fn pass(&self, mut client: TcpStream, server: u16) -> std::io::Result<()> {
        let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut question, mut answer) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
        let mut client_spoke_last = false;
        loop {
            let (bytes, to) = tokio::select! {
                read = client.read(&mut question) => {
                    if !client_spoke_last {
                        let flush = self.flushes.fetch_add(1, Ordering::SeqCst) + 1;
                        if flush == self.breaks_at.load(Ordering::SeqCst) {
                            return Ok(());
                        }
                    }
                    client_spoke_last = true;
                    let read = read?;
                    self.bytes.fetch_add(read, Ordering::SeqCst);
                    (&question[..read], &mut server)
                }
                read = server.read(&mut answer) => {
                    client_spoke_last = false;
                    (&answer[..read?], &mut client)
                }
            };
            if bytes.is_empty() {
                return Ok(());
            }
            if !self.silent.load(Ordering::SeqCst) {
                to.write_all(bytes).await?;
            }
        }
    }
}
