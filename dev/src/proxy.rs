//! A TCP proxy before PostgreSQL on this machine: it counts and records what passes, and can delay, gather, break or
//! swallow it.
mod exchange;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use self::exchange::Exchange;

/// Larger than any request that is sent through, so that one write of the client's is one read here.
const BUFFER_BYTES: usize = 256 * 1024;

/// How bytes pass.
#[derive(Clone, Copy, Debug)]
pub enum Pass {
    /// As they come.
    AtOnce,
    /// Each of them later by this time, in both directions.
    Later(Duration),
    /// Answers only when all that was asked is answered. PostgreSQL sends each statement's by itself, so the pieces in
    /// which a client reads them would otherwise be left to chance.
    Gathered,
}

/// A proxy that serves until the runtime ends.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    flushes: AtomicUsize,
    sent: Mutex<Vec<u8>>,
    is_silent: AtomicBool,
    /// The flush that breaks its connection; none when 0.
    breaks_at: AtomicUsize,
    open: watch::Sender<usize>,
}

impl Proxy {
    /// Listens on a free port, in front of a port of this machine.
    ///
    /// # Errors
    /// When no port is to be had.
    pub async fn before(server: u16, pass: Pass) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Seen::default());
        let all = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                all.connections.fetch_add(1, Ordering::SeqCst);
                let seen = Arc::clone(&all);
                // When one side breaks the connection, the other side's is closed.
                tokio::spawn(async move {
                    seen.open.send_modify(|open| *open += 1);
                    seen.pass_on(client, server, pass).await.ok();
                    seen.open.send_modify(|open| *open -= 1);
                });
            }
        });
        Ok(Self { port, seen })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections have been opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// How many of them are open.
    #[must_use]
    pub fn open(&self) -> usize {
        *self.seen.open.borrow()
    }

    /// Waits until none is open.
    pub async fn all_closed(&self) {
        // The sender lives as long as we do.
        let _ = self.seen.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// How often a client has sent something after it had read an answer: each time cost it a round trip.
    #[must_use]
    pub fn flushes(&self) -> usize {
        self.seen.flushes.load(Ordering::SeqCst)
    }

    /// Every byte that clients have sent since the last call.
    pub fn take_sent(&self) -> Vec<u8> {
        std::mem::take(&mut self.seen.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Breaks the connection at the nth flush from now on, before the server gets it.
    pub fn break_at_flush(&self, nth: usize) {
        self.seen.breaks_at.store(self.flushes() + nth, Ordering::SeqCst);
    }

    /// Whether it takes every byte from now on, passes none on and closes nothing.
    pub fn set_silent(&self, is_silent: bool) {
        self.seen.is_silent.store(is_silent, Ordering::SeqCst);
    }
}

/// Bytes on their way.
struct Passing {
    to: Side,
    bytes: Vec<u8>,
}

enum Side {
    Client,
    Server,
}

impl Seen {
    async fn pass_on(&self, mut client: TcpStream, server: u16, pass: Pass) -> io::Result<()> {
        let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut asked, mut answered) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
        let mut exchange = matches!(pass, Pass::Gathered).then(Exchange::new);
        let mut client_spoke_last = false;
        let (hold, mut due) = holding(pass);
        loop {
            let (passing, is_due) = tokio::select! {
                read = client.read(&mut asked) => {
                    let read @ 1.. = read? else { return Ok(()) };
                    if !client_spoke_last && self.breaks_at_this_flush() {
                        return Ok(());
                    }
                    client_spoke_last = true;
                    let bytes = asked[..read].to_vec();
                    if let Some(exchange) = &mut exchange {
                        exchange.ask(&bytes);
                    }
                    self.sent.lock().unwrap_or_else(PoisonError::into_inner).extend(&bytes);
                    (Passing { to: Side::Server, bytes }, hold.is_none())
                }
                read = server.read(&mut answered) => {
                    let read @ 1.. = read? else { return Ok(()) };
                    client_spoke_last = false;
                    let bytes = match &mut exchange {
                        Some(exchange) => exchange.answer(&answered[..read]),
                        None => answered[..read].to_vec(),
                    };
                    (Passing { to: Side::Client, bytes }, hold.is_none())
                }
                Some(passing) = due.recv() => (passing, true),
            };
            if self.is_silent.load(Ordering::SeqCst) {
                continue;
            }
            match (passing, &hold) {
                (passing, Some(hold)) if !is_due => {
                    // The thread that takes it lives as long as we do.
                    let _ = hold.send((Instant::now(), passing));
                }
                (Passing { to: Side::Client, bytes }, _) => client.write_all(&bytes).await?,
                (Passing { to: Side::Server, bytes }, _) => server.write_all(&bytes).await?,
            }
        }
    }

    /// Counts a flush, and returns whether the connection breaks at it.
    fn breaks_at_this_flush(&self) -> bool {
        let flush = self.flushes.fetch_add(1, Ordering::SeqCst) + 1;
        flush == self.breaks_at.load(Ordering::SeqCst)
    }
}

/// A way in for bytes that pass later, if they do, and the way out on which they come when they are due. A thread holds
/// them, because tokio's timers are as coarse as a millisecond.
fn holding(pass: Pass) -> (Option<Sender<(Instant, Passing)>>, mpsc::UnboundedReceiver<Passing>) {
    let (release, due) = mpsc::unbounded_channel();
    let Pass::Later(one_way) = pass else { return (None, due) };
    let (hold, held) = std::sync::mpsc::channel::<(Instant, Passing)>();
    thread::spawn(move || {
        for (came_at, passing) in held {
            thread::sleep((came_at + one_way).saturating_duration_since(Instant::now()));
            if release.send(passing).is_err() {
                break;
            }
        }
    });
    (Some(hold), due)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await
        });
        port
    }

    async fn ask(client: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
        client.write_all(bytes).await.unwrap();
        let mut answer = vec![0; bytes.len()];
        client.read_exact(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn what_passes_later_passes_whole_and_is_counted() {
        const ONE_WAY: Duration = Duration::from_millis(20);
        let proxy = Proxy::before(echo().await, Pass::Later(ONE_WAY)).await.unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        let started = Instant::now();
        assert_eq!(ask(&mut client, b"first").await, b"first");
        assert!(started.elapsed() >= 2 * ONE_WAY, "{:?}", started.elapsed());
        assert_eq!(ask(&mut client, b"second").await, b"second");
        assert_eq!((proxy.connections(), proxy.open(), proxy.flushes()), (1, 1, 2));
        assert_eq!(proxy.take_sent(), b"firstsecond");
        assert_eq!(proxy.take_sent(), b"");
        drop(client);
        proxy.all_closed().await;
    }

    #[tokio::test]
    async fn a_connection_breaks_at_the_flush_that_was_named() {
        let proxy = Proxy::before(echo().await, Pass::AtOnce).await.unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        assert_eq!(ask(&mut client, b"first").await, b"first");
        proxy.break_at_flush(1);
        client.write_all(b"second").await.unwrap();
        assert_eq!(client.read(&mut [0; 8]).await.unwrap_or_default(), 0);
        assert_eq!(proxy.take_sent(), b"first", "the server got no more");
    }
}
