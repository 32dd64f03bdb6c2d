//! What an endpoint is called, where it is and whom it answers.
use crate::db::Login;

/// One endpoint, as `template.yaml` spells it too.
#[derive(Debug)]
pub struct Route {
    /// Folder, package, binary, event and test.
    pub name: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// The database user it logs in as.
    pub login: Login,
    /// Who may call.
    pub caller: Caller,
}

/// Who a route answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A member of a dealership, with a Clerk session token.
    Member,
    /// Anybody, or a peer who signs its requests.
    Public,
}
