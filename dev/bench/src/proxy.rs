//! A proxy on this machine that makes the way to the database longer, and can tell what was said on it.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Larger than any request or page that is sent through.
const BUFFER_BYTES: usize = 256 * 1024;

/// Listens as long as the process lives.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    /// In front of a port; each byte takes `one_way` longer to get through. Threads, because tokio's timers are as coarse
    /// as a millisecond.
    pub(crate) fn before(server: u16, one_way: Duration) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let ear = Arc::clone(&heard);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Who cannot be passed on sees its connection closed.
                let _ = connect(client, server, one_way, &ear);
            }
        });
        Ok(Self { port, heard })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Every byte that clients have sent since the last call.
    pub(crate) fn heard(&self) -> Vec<u8> {
        std::mem::take(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn connect(
    client: TcpStream,
    server: u16,
    one_way: Duration,
    ear: &Arc<Mutex<Vec<u8>>>,
) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server))?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    pass(client.try_clone()?, server.try_clone()?, one_way, Some(Arc::clone(ear)));
    pass(server, client, one_way, None);
    Ok(())
}

/// One thread hears, the other repeats it when its time has come, so that the delay of one byte is not that of the next.
fn pass(mut from: TcpStream, mut to: TcpStream, one_way: Duration, ear: Option<Arc<Mutex<Vec<u8>>>>) {
    let (later, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let bytes = buffer[..read].to_vec();
            if let Some(ear) = &ear {
                ear.lock().unwrap_or_else(PoisonError::into_inner).extend(&bytes);
            }
            if later.send((Instant::now() + one_way, bytes)).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (when, bytes) in due {
            thread::sleep(when.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
