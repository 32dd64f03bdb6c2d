//! AWS Secrets Manager by AWS's own SDK, without the parts that a function does not need: its other sources of credentials
//! (profiles, roles to assume, a machine's metadata) and its HTTP client. Together they were a third of each binary.
use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::http::{HttpRequest, HttpResponse};
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::config::{
    BehaviorVersion, Config, Credentials, Region, SharedCredentialsProvider,
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::HttpError;

use crate::outbound;

/// To read one secret, repetitions included: Lambda gives the start of a sandbox 10 seconds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// For one try: the SDK itself waits for an answer without end.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// A client with the credentials, region and endpoint in the variables, as Lambda and `sam local` set them. If one is
/// missing, the first request fails and names it.
pub(crate) fn client(variables: &HashMap<String, String>) -> Result<Client, reqwest::Error> {
    let given = |name| variables.get(name).cloned();
    let key = given("AWS_ACCESS_KEY_ID").zip(given("AWS_SECRET_ACCESS_KEY"));
    let credentials =
        key.map(|(id, key)| Credentials::new(id, key, given("AWS_SESSION_TOKEN"), None, "environment"));
    let endpoint = given("AWS_ENDPOINT_URL_SECRETS_MANAGER").or_else(|| given("AWS_ENDPOINT_URL"));
    let connector = SharedHttpConnector::new(Connector(outbound::client(TRY_TIMEOUT).build()?));

    let timeouts = TimeoutConfig::builder().operation_timeout(TIMEOUT).operation_attempt_timeout(TRY_TIMEOUT);
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .timeout_config(timeouts.build());
    config.set_credentials_provider(credentials.map(SharedCredentialsProvider::new));
    config.set_endpoint_url(endpoint);
    config.set_region(given("AWS_REGION").map(Region::new));
    Ok(Client::from_conf(config.build()))
}

/// Sends the SDK's requests by the HTTP client that every other request uses.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let request = request.map(|body| body.bytes().unwrap_or_default().to_vec());
            let mut response = client.execute(request.try_into().map_err(failed)?).await.map_err(failed)?;
            let headers = std::mem::take(response.headers_mut());
            let status = response.status().into();
            let mut answer = HttpResponse::new(status, response.bytes().await.map_err(failed)?.into());
            *answer.headers_mut() =
                headers.try_into().map_err(|error: HttpError| ConnectorError::other(error.into(), None))?;
            Ok(answer)
        })
    }
}

fn failed(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() { ConnectorError::timeout(error.into()) } else { ConnectorError::io(error.into()) }
}
