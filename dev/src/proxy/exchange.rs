//! Requests and answers on one connection, in messages of PostgreSQL's protocol 3.0.

/// What has not been passed on, and what is not a whole message yet.
pub(super) struct Exchange {
    asked: Vec<u8>,
    answered: Vec<u8>,
    /// The bytes of `answered` that are whole messages.
    whole: usize,
    /// Queries and synchronizations whose end the server has not sent.
    unanswered: usize,
}

impl Exchange {
    pub(super) fn new() -> Self {
        // A client's first message has no kind.
        Self { asked: vec![0], answered: Vec::new(), whole: 0, unanswered: 0 }
    }

    /// Takes what the client sends.
    pub(super) fn ask(&mut self, bytes: &[u8]) {
        self.asked.extend(bytes);
        while let Some((kind, length)) = first_message(&self.asked) {
            self.unanswered += usize::from(matches!(kind, b'Q' | b'S'));
            self.asked.drain(..length);
        }
    }

    /// Takes what the server sends, and returns what the client may read now: nothing while an answer is missing.
    pub(super) fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.answered.extend(bytes);
        while let Some((kind, length)) = first_message(&self.answered[self.whole..]) {
            // The first one ends the start, which is no query.
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

        // In pieces of any size.
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
