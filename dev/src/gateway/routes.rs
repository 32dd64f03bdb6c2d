//! Which function a method and a path belong to: the registry's routes and files, as API Gateway finds them.
use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use hyper::Method;
use matchit::Router;
use percent_encoding::percent_decode_str;
use shared::Front;

/// By methods. API Gateway takes the most specific path of those that have the method; a path with a slash at its end
/// is another one (storacha/w3infra#166), and HEAD is a method like any other.
pub(super) struct Routes(HashMap<Method, Router<Target>>);

/// A function as a route reaches it.
pub(super) struct Target {
    pub(super) function: &'static str,
    pub(super) front: Front,
    /// `GET /api/v1/leads/{id}`.
    pub(super) key: String,
}

/// A target, and what the path has in the place of its parameters, decoded.
pub(super) struct Found<'a> {
    pub(super) target: &'a Target,
    pub(super) parameters: BTreeMap<String, String>,
}

impl Routes {
    /// # Errors
    /// When two routes are in each other's way.
    pub(super) fn of_registry() -> Result<Self> {
        let routes = registry::endpoints()
            .map(|endpoint| endpoint.route)
            .map(|route| (route.method, route.path, route.name, route.front));
        let files = registry::files()
            .flat_map(|files| files.files.iter().map(|file| ("GET", file.path, files.name, Front::Api)));
        let mut routers = HashMap::<Method, Router<Target>>::new();
        for (method, path, function, front) in routes.chain(files) {
            let router = routers.entry(method.parse()?).or_default();
            let target = Target { function, front, key: format!("{method} {path}") };
            router.insert(path, target).with_context(|| format!("route {method} {path} to {function}"))?;
        }
        Ok(Self(routers))
    }

    pub(super) fn find(&self, method: &Method, path: &str) -> Option<Found<'_>> {
        let found = self.0.get(method)?.at(path).ok()?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let parameters = found.params.iter().map(|(name, value)| (name.to_owned(), decoded(value)));
        Some(Found { target: found.value, parameters: parameters.collect() })
    }
}
