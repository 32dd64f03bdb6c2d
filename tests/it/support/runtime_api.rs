//! The Runtime API of one sandbox, with events and answers as API Gateway has them.
use dev::runtime_api::Answer;
pub use dev::runtime_api::TRACE_ID;
use serde_json::Value;

pub struct RuntimeApi(dev::runtime_api::RuntimeApi);

impl RuntimeApi {
    pub async fn start() -> Self {
        Self(dev::runtime_api::RuntimeApi::start().await.unwrap())
    }

    /// The variables by which Lambda introduces itself to the process.
    pub fn environment(&self, function: &str) -> [(&'static str, String); 4] {
        self.0.environment(function)
    }

    /// Gives the process an event, at once or when it asks for one, and waits for the answer.
    pub async fn invoke(&self, event: &Value) -> Value {
        let answer = self.0.invoke(event.to_string().into()).await.unwrap();
        if answer.is_stream { streamed(&answer) } else { serde_json::from_slice(&answer.body).unwrap() }
    }
}

/// A streamed answer as a caller gets it, from its prelude in JSON, eight NULs and its body.
fn streamed(answer: &Answer) -> Value {
    let end = answer.body.windows(8).position(|eight| eight == [0; 8]).unwrap();
    let mut json: Value = serde_json::from_slice(&answer.body[..end]).unwrap();
    json["body"] = String::from_utf8_lossy(&answer.body[end + 8..]).into();
    json["isWhole"] = answer.is_whole.into();
    json
}
