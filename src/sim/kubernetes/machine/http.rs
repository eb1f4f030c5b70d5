//! One HTTP GET, as a kubelet's probe makes it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http::header::HOST;
use http_body_util::Empty;
use hyper::client::conn::http1;

use crate::kube::runtime::HttpGet;
use crate::rt::hyper_io::HyperIo;
use crate::rt::interpose::clock_unread;
use crate::rt::net::TcpStream;
use crate::rt::task::Scope;

/// The status code of the answer.
///
/// # Errors
/// Why there is none.
pub async fn get(get: &HttpGet) -> Result<u16, String> {
    let to = SocketAddr::new(get.ip, get.port);
    let stream = TcpStream::connect(to).await.map_err(|error| format!("dial tcp {to}: connect: {error}"))?;
    let broken = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(HyperIo::new(stream)).await.map_err(broken)?;
    let scope = Scope::new();
    scope.spawn("probe-connection", async move { drop(clock_unread(connection).await) });
    let mut request = Request::get(&get.path).header(HOST, to.to_string());
    for (name, value) in &get.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    Ok(answer.status().as_u16())
}
