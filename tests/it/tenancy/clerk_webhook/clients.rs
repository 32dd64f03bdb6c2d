//! Svix's own client libraries sign, and we accept: `.ci/run` installs them and runs these.
use std::process::Command;

use jiff::Timestamp;

use crate::support::{WEBHOOK_SECRET, World, event};

const PYTHON: &str = "
import sys, datetime
from svix.webhooks import Webhook
secret, id, seconds, body = sys.argv[1:]
at = datetime.datetime.fromtimestamp(int(seconds), tz=datetime.timezone.utc)
print(Webhook(secret).sign(msg_id=id, timestamp=at, data=body))
";

const NODE: &str = "
const { Webhook } = require('svix');
const [secret, id, seconds, body] = process.argv.slice(1);
console.log(new Webhook(secret).sign(id, new Date(seconds * 1000), body));
";

/// Sends each sample as the client signs it, and once with another body than it signed.
async fn accepted(client: impl Fn() -> Command) {
    let world = World::empty().await;
    for name in
        ["clerk-webhook", "clerk-webhook/user.created", "clerk-webhook/organizationMembership.deleted"]
    {
        let (message, id) = (event(name), format!("msg_{}", name.replace(['/', '.', '-'], "")));
        let seconds = Timestamp::now().as_second().to_string();
        let signed = client().args([WEBHOOK_SECRET, &id, &seconds, message.text()]).output().unwrap();
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
        let signature = String::from_utf8(signed.stdout).unwrap();
        let headers =
            [("svix-id", id.as_str()), ("svix-timestamp", &seconds), ("svix-signature", signature.trim())];
        let message =
            headers.into_iter().fold(message, |message, (header, value)| message.header(header, value));

        let changed = format!("{} ", message.text());
        world.send(message.clone().body(&changed)).await.expect(401);
        assert_eq!(world.send(message).await.expect(200).json["status"], "received", "{name}");
    }
}

#[tokio::test]
#[ignore = "needs a Python with svix, which SVIX_PYTHON names; .ci/run has one"]
async fn of_python() {
    let python = dev::environment::text("SVIX_PYTHON").unwrap();
    accepted(|| {
        let mut command = Command::new(&python);
        command.args(["-c", PYTHON]);
        command
    })
    .await;
}

#[tokio::test]
#[ignore = "needs node and svix, in the node_modules that NODE_PATH names; .ci/run has them where there is npm"]
async fn of_node() {
    accepted(|| {
        let mut command = Command::new("node");
        command.args(["-e", NODE, "--"]);
        command
    })
    .await;
}
