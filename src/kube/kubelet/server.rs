//! The kubelet's own port, 10250: commands in containers and what they wrote.
//!
//! Paths are upstream's: `POST /exec/NS/POD/CONTAINER?command=…` and `GET /containerLogs/NS/POD/CONTAINER?tailLines=…`.
//! Differs: a command's output comes whole at its end, as JSON, because nothing can be typed into it; no authentication.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use serde_json::json;

use crate::kube::query;
use crate::kube::runtime::{ContainerRecord, Runtime, RuntimeError};
use crate::rt::hyper_io::HyperIo;
use crate::rt::interpose::clock_unread;
use crate::rt::net::{TcpListener, TcpStream};
use crate::rt::task::Scope;
use crate::rt::time::{Duration, sleep};

/// `KubeletPort`.
pub const PORT: u16 = 10250;

/// After an error of the listener.
const AGAIN: Duration = Duration::from_secs(1);

/// What is asked of a container.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    namespace: String,
    pod: String,
    container: String,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Exec(Vec<String>),
    Logs { last: Option<usize>, previous: bool },
}

/// Serves until its task ends.
pub(super) async fn serve(runtime: Runtime, addr: SocketAddr) -> Infallible {
    loop {
        match TcpListener::bind(addr).await {
            Ok(listener) => accept(&runtime, &listener).await,
            Err(error) => tracing::warn!(%error, "the kubelet's port cannot be opened"),
        }
        sleep(AGAIN).await;
    }
}

async fn accept(runtime: &Runtime, listener: &TcpListener) {
    let connections = Scope::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn("kubelet-connection", connection(runtime.clone(), stream));
    }
}

async fn connection(runtime: Runtime, stream: TcpStream) {
    let service = service_fn(|request| respond(runtime.clone(), request));
    let mut http = http1::Builder::new();
    // hyper reads the machine's clock for both of these.
    http.auto_date_header(false).header_read_timeout(None);
    if let Err(error) = clock_unread(http.serve_connection(HyperIo::new(stream), service)).await {
        tracing::debug!(%error, "connection to the kubelet ended");
    }
}

async fn respond(runtime: Runtime, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let uri = request.uri();
    let answered = match asked(request.method(), uri.path(), uri.query().unwrap_or_default()) {
        Some(asked) => answer(&runtime, asked).await,
        None => Err((StatusCode::NOT_FOUND, "404 page not found".into())),
    };
    let (code, body) = match answered {
        Ok(body) => (StatusCode::OK, body),
        Err((code, message)) => {
            let reason = match code {
                StatusCode::NOT_FOUND => "NotFound",
                StatusCode::BAD_REQUEST => "BadRequest",
                _ => "InternalError",
            };
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": message, "reason": reason, "code": code.as_u16(),
            });
            (code, status.to_string())
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    Ok(response)
}

fn asked(method: &Method, path: &str, query: &str) -> Option<Asked> {
    let steps: Vec<&str> = path.split('/').collect();
    let ["", verb, namespace, pod, container] = steps[..] else { return None };
    let pairs = query::pairs(query);
    let value = |name: &str| pairs.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let what = match (method, verb) {
        (&Method::POST, "exec") => {
            What::Exec(pairs.iter().filter(|(name, _)| name == "command").map(|(_, word)| word.clone()).collect())
        }
        (&Method::GET, "containerLogs") => What::Logs {
            last: value("tailLines").and_then(|lines| lines.parse().ok()),
            previous: value("previous") == Some("true"),
        },
        _ => return None,
    };
    let own = |text: &str| query::unescape(text).into_owned();
    Some(Asked { namespace: own(namespace), pod: own(pod), container: own(container), what })
}

async fn answer(runtime: &Runtime, asked: Asked) -> Result<String, (StatusCode, String)> {
    let failed = |error: RuntimeError| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let list = runtime.list().await.map_err(failed)?;
    let own = |pod: &crate::kube::runtime::PodId| pod.namespace == asked.namespace && pod.name == asked.pod;
    // The latest last: a pod that came back under its name is another.
    let mut attempts: Vec<ContainerRecord> = list
        .into_iter()
        .filter(|status| own(&status.sandbox.pod))
        .flat_map(|status| status.containers)
        .filter(|record| record.name == asked.container)
        .collect();
    attempts.sort_by_key(|record| record.started);
    let none = format!("container not found (\"{}\")", asked.container);
    let none = || (StatusCode::NOT_FOUND, none.clone());
    match asked.what {
        What::Exec(command) => {
            let record = attempts.pop().filter(|record| record.exit.is_none()).ok_or_else(none)?;
            let output = runtime.exec(record.id, command).await.map_err(|error| match error {
                RuntimeError::NotFound(_) => none(),
                other => failed(other),
            })?;
            Ok(json!({"code": output.code, "stdout": output.stdout, "stderr": output.stderr}).to_string())
        }
        What::Logs { last, previous } => {
            let mut latest = attempts.into_iter().rev().skip(usize::from(previous));
            let record = latest.next().ok_or_else(none)?;
            runtime.logs(record.id, last).await.map_err(failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_upstreams() {
        let of = |method: Method, path: &str, query: &str| asked(&method, path, query).map(|asked| asked.what);
        let exec = What::Exec(vec!["ls".into(), "/a b".into()]);
        assert_eq!(of(Method::POST, "/exec/default/nginx/app", "command=ls&command=%2Fa+b"), Some(exec));
        let logs = |last, previous| Some(What::Logs { last, previous });
        assert_eq!(of(Method::GET, "/containerLogs/x/p/c", ""), logs(None, false));
        assert_eq!(of(Method::GET, "/containerLogs/x/p/c", "tailLines=3&previous=true"), logs(Some(3), true));
        for (method, path) in [
            (Method::GET, "/exec/default/nginx/app"),
            (Method::POST, "/containerLogs/x/p/c"),
            (Method::GET, "/containerLogs/x/p"),
            (Method::GET, "/pods"),
            (Method::GET, "/"),
        ] {
            assert_eq!(of(method.clone(), path, ""), None, "{method} {path}");
        }
    }
}
