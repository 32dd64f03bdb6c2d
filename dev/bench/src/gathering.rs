//! A proxy before PostgreSQL that passes answers on when all that was asked is answered. PostgreSQL sends each
//! statement's by itself, so the pieces in which a client reads them, and what reading takes of it, would be left to
//! chance.
use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Larger than most answers.
const BUFFER_BYTES: usize = 64 * 1024;

/// The port of one before this port. It listens as long as the process lives.
pub(crate) async fn before(server: u16) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            // Who cannot be passed on sees its connection closed.
            tokio::spawn(pass(client, server));
        }
    });
    Ok(port)
}

async fn pass(mut client: TcpStream, server: u16) -> Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut asked, mut answered) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    let mut exchange = Exchange::new();
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let read @ 1.. = read? else { return Ok(()) };
                exchange.ask(&asked[..read]);
                server.write_all(&asked[..read]).await?;
            }
            read = server.read(&mut answered) => {
                let read @ 1.. = read? else { return Ok(()) };
                client.write_all(&exchange.answer(&answered[..read])).await?;
            }
        }
    }
}

/// What was said on a connection (PostgreSQL's protocol 3.0) and has not been passed on, or is not a whole message yet.
struct Exchange {
    asked: Vec<u8>,
    answered: Vec<u8>,
    /// Of the answers, those that are whole.
    whole: usize,
    /// Queries and synchronizations whose end the server has not said.
    unanswered: usize,
}

impl Exchange {
    fn new() -> Self {
        // A client's first message has no kind.
        Self { asked: vec![0], answered: Vec::new(), whole: 0, unanswered: 0 }
    }

    fn ask(&mut self, bytes: &[u8]) {
        self.asked.extend(bytes);
        while let Some((kind, length)) = first_message(&self.asked) {
            self.unanswered += usize::from(matches!(kind, b'Q' | b'S'));
            self.asked.drain(..length);
        }
    }

    /// Takes what the server says and gives what the client may hear.
    fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.answered.extend(bytes);
        while let Some((kind, length)) = first_message(&self.answered[self.whole..]) {
            // The first one ends the start, which nobody has asked for.
            self.unanswered = self.unanswered.saturating_sub(usize::from(kind == b'Z'));
            self.whole += length;
        }
        if self.unanswered > 0 {
            return Vec::new();
        }
        self.answered.drain(..std::mem::take(&mut self.whole)).collect()
    }
}

/// The kind and the length of the first message, once it is whole.
fn first_message(bytes: &[u8]) -> Option<(u8, usize)> {
    let [kind, length @ ..] = *bytes.first_chunk::<5>()?;
    let length = 1 + u32::from_be_bytes(length) as usize;
    (bytes.len() >= length).then_some((kind, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &[u8] = b"C\0\0\0\x0aBEGIN\0Z\0\0\0\x05T";

    #[test]
    fn answers_come_at_once_and_a_start_as_it_goes() {
        let mut exchange = Exchange::new();
        exchange.ask(b"\0\0\0\x08\0\x03\0\0");
        let challenge = b"R\0\0\0\x08\0\0\0\x03";
        assert_eq!(exchange.answer(challenge), challenge);
        exchange.ask(b"p\0\0\0\x05\0");
        assert_eq!(exchange.answer(DONE), DONE);

        // In pieces that nobody chose.
        for byte in b"Q\0\0\0\x0abegin\0P\0\0\0\x08\0\0\0\0S\0\0\0\x04" {
            exchange.ask(&[*byte]);
        }
        let both = [DONE, DONE].concat();
        let (last, before) = both.split_last().unwrap();
        for byte in before {
            assert_eq!(exchange.answer(&[*byte]), b"");
        }
        assert_eq!(exchange.answer(&[*last]), both);
    }
}
