//! The callers: the admin of each dealership in the benchmark's database, with a real session token.
use dev::clerk::{ActiveOrganization, Clerk, SessionToken};
use dev::state::ORIGIN;
use jiff::Timestamp;

/// A token's lifetime in seconds: longer than any run. Clerk's tokens live a minute, and take as long to verify.
const TOKEN_SECONDS: i64 = 4 * 60 * 60;

/// More callers would show nothing new, and each costs a signature.
const MOST_TOKENS: u64 = 200;

/// A token per dealership.
#[derive(Debug)]
pub(crate) struct Callers {
    tokens: Vec<String>,
}

impl Callers {
    /// The callers of the first dealerships.
    pub(crate) fn new(clerk: &Clerk, issuer: &str, dealerships: u64) -> Self {
        let token = |dealership: u64| {
            let (organization, user) =
                (format!("org_bench_{dealership}"), format!("user_bench_{dealership}"));
            clerk.session_token(&SessionToken {
                issuer,
                authorized_party: ORIGIN,
                user_id: &user,
                session_id: "sess_bench",
                organization: Some(ActiveOrganization { id: &organization, role: "admin", slug: "bench" }),
                issued_at: Timestamp::now(),
                lifetime: TOKEN_SECONDS,
            })
        };
        Self { tokens: (0..dealerships.min(MOST_TOKENS)).map(token).collect() }
    }

    /// The first caller alone.
    pub(crate) fn first(&self) -> Self {
        Self { tokens: self.tokens[..1].to_vec() }
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(String::as_str)
    }

    /// The token of the nth request.
    pub(crate) fn token(&self, number: u64) -> &str {
        &self.tokens[number as usize % self.tokens.len()]
    }

    pub(crate) fn dealerships(&self) -> u64 {
        self.tokens.len() as u64
    }
}
