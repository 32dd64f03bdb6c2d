//! Every function, named once. The local stack, the deployed stacks, the tables of routes and the tests are made of
//! this list.
use shared::db::{Login, NamedSql};
use shared::files::Files;
use shared::job::Scheduled;
use shared::{Endpoint, Schedule, scheduled};

/// The functions of one folder of `functions/`.
pub struct Area {
    /// The folder, the stack, and the folder of events and tests.
    pub name: &'static str,
    /// What it is about, for the map.
    pub about: &'static str,
    /// Its functions, alphabetically.
    pub functions: &'static [Function],
}

/// One function, by its caller.
#[derive(Clone, Copy)]
pub enum Function {
    /// Answers a route.
    Route(Endpoint),
    /// Answers with files that were built into it.
    Files(&'static Files),
    /// Runs on a schedule.
    Schedule(Scheduled),
    /// Runs when CloudFormation deploys, and at no other time.
    Deployment(&'static str),
}

/// Every area with its functions.
pub static AREAS: [Area; 4] = [
    Area {
        name: "platform",
        about: "what no other area owns",
        functions: &[
            Function::Files(&api_docs::FILES),
            Function::Route(shared::endpoint!(health)),
            Function::Files(&index::FILES),
            Function::Deployment(migrate_database::NAME),
        ],
    },
    Area {
        name: "tenancy",
        about: "dealerships, their people, Clerk",
        functions: &[
            Function::Schedule(scheduled!(clerk_reconcile, Config)),
            Function::Route(shared::endpoint!(clerk_webhook, Config)),
            Function::Route(shared::endpoint!(get_dealership)),
            Function::Route(shared::endpoint!(me)),
            Function::Route(shared::endpoint!(patch_dealership, Config)),
        ],
    },
    Area {
        name: "intake",
        about: "web forms and what they send",
        functions: &[
            Function::Route(shared::endpoint!(form_preflight)),
            Function::Route(shared::endpoint!(form_script, Config)),
            Function::Route(shared::endpoint!(form_webhook, Config)),
            Function::Route(shared::endpoint!(get_form_snippet, Config)),
            Function::Route(shared::endpoint!(list_submissions)),
            Function::Schedule(scheduled!(parse_submissions)),
            Function::Route(shared::endpoint!(reject_submission)),
            Function::Route(shared::endpoint!(release_submission)),
        ],
    },
    Area {
        name: "leads",
        about: "leads and their messages",
        functions: &[
            Function::Route(shared::endpoint!(create_conversation)),
            Function::Route(shared::endpoint!(create_lead)),
            Function::Route(shared::endpoint!(delete_lead)),
            Function::Route(shared::endpoint!(export_leads, streaming)),
            Function::Route(shared::endpoint!(get_lead)),
            Function::Route(shared::endpoint!(import_leads)),
            Function::Route(shared::endpoint!(list_conversations)),
            Function::Route(shared::endpoint!(list_duplicates)),
            Function::Route(shared::endpoint!(list_leads)),
            Function::Route(shared::endpoint!(merge_lead)),
            Function::Route(shared::endpoint!(patch_lead)),
            Function::Route(shared::endpoint!(undo_merge)),
        ],
    },
];

impl Function {
    /// The name of its folder, package, binary, event and test.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Route(endpoint) => endpoint.route.name,
            Self::Files(files) => files.name,
            Self::Schedule(scheduled) => scheduled.schedule.name,
            Self::Deployment(name) => name,
        }
    }

    /// The database user that it logs in as. None for files and for the deployment, which runs as the owner.
    #[must_use]
    pub fn login(&self) -> Option<Login> {
        match self {
            Self::Route(endpoint) => Some(endpoint.route.login),
            Self::Schedule(scheduled) => Some(scheduled.schedule.login),
            Self::Files(_) | Self::Deployment(_) => None,
        }
    }

    /// Every statement that it runs, with a name.
    pub fn statements(&self) -> impl Iterator<Item = NamedSql> {
        let lists: &[&[NamedSql]] = match self {
            Self::Route(endpoint) => endpoint.route.statements,
            Self::Schedule(scheduled) => scheduled.schedule.statements,
            Self::Files(_) | Self::Deployment(_) => &[],
        };
        lists.iter().copied().flatten().copied()
    }
}

/// Every function with the name of its area.
pub fn functions() -> impl Iterator<Item = (&'static str, &'static Function)> {
    AREAS.iter().flat_map(|area| area.functions.iter().map(|function| (area.name, function)))
}

/// The area of the function of this name.
#[must_use]
pub fn area_of(name: &str) -> Option<&'static str> {
    functions().find(|(_, function)| function.name() == name).map(|(area, _)| area)
}

/// Every route.
pub fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    functions().filter_map(|(_, function)| match function {
        Function::Route(endpoint) => Some(endpoint),
        _ => None,
    })
}

/// The route of this name.
#[must_use]
pub fn endpoint(name: &str) -> Option<&'static Endpoint> {
    endpoints().find(|endpoint| endpoint.route.name == name)
}

/// Every function that runs on a schedule.
pub fn schedules() -> impl Iterator<Item = &'static Schedule> {
    functions().filter_map(|(_, function)| match function {
        Function::Schedule(scheduled) => Some(scheduled.schedule),
        _ => None,
    })
}

/// Every function that answers with files.
pub fn files() -> impl Iterator<Item = &'static Files> {
    functions().filter_map(|(_, function)| match function {
        Function::Files(files) => Some(*files),
        _ => None,
    })
}
