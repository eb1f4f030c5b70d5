//! The rows of sockets: what `near` does and tells, and what `far` does meanwhile.
//!
//! Only `rt::net` and `rt::time` are used, so a row cannot know where it plays. What `near` tells is words, not times,
//! except where the row is about a documented time of minutes.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::try_join;
use stormglass::rt::net::{TcpListener, TcpStream};
use stormglass::rt::time::{Instant, sleep, timeout};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Told;
use super::stage::{Order, Stage};

/// A connection of `near` to itself. A round trip on it lets the kernel (or the world) go on, without a clock.
pub struct Turn(TcpStream, TcpStream);

impl Turn {
    pub async fn new(stage: &Stage) -> io::Result<Self> {
        let listener = stage.listen().await?;
        // At once: not every engine lets a connection stand before it is accepted.
        let (one, (other, _)) = try_join(TcpStream::connect(listener.local_addr()?), listener.accept()).await?;
        Ok(Self(one, other))
    }

    pub async fn pass(&mut self) -> io::Result<()> {
        self.0.write_all(b"?").await?;
        self.1.read_u8().await?;
        self.1.write_all(b"!").await?;
        self.0.read_u8().await.map(drop)
    }
}

pub async fn told_read(stream: &mut TcpStream) -> String {
    let mut buf = [0; 64];
    match stream.read(&mut buf).await {
        Ok(0) => "end".to_owned(),
        Ok(n) => String::from_utf8_lossy(&buf[..n]).into_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

pub async fn told_write(stream: &mut TcpStream, data: &[u8]) -> String {
    match stream.write(data).await {
        Ok(n) => format!("write: {n}"),
        Err(error) => format!("write: {:?}", error.kind()),
    }
}

/// Writes until it fails: when a RST arrives is the network's business, that it does is the row's.
async fn told_failing_write(stage: &Stage, stream: &mut TcpStream) -> io::Result<String> {
    let mut turn = Turn::new(stage).await?;
    for _ in 0..100_000 {
        let told = told_write(stream, b"x").await;
        if told != "write: 1" {
            return Ok(told);
        }
        turn.pass().await?;
    }
    Ok("write: never fails".to_owned())
}

async fn told_with_time(unit: u64, name: &str, what: impl Future<Output = String>) -> String {
    let begin = Instant::now();
    let told = what.await;
    format!("{told} after {} {name}", begin.elapsed().as_secs() / unit)
}

pub async fn told_connect(addr: SocketAddr) -> String {
    TcpStream::connect(addr).await.map_or_else(|e| format!("{:?}", e.kind()), |_| "connected".to_owned())
}

pub async fn nobody(_: SocketAddr) -> io::Result<()> {
    Ok(())
}

pub async fn connect_refused(stage: Stage) -> io::Result<Told> {
    Ok(vec![told_connect(stage.closed_port().await?).await])
}

pub async fn address_in_use(stage: Stage) -> io::Result<Told> {
    let listener = stage.listen().await?;
    let addr = listener.local_addr()?;
    let second = TcpListener::bind(addr).await.map_err(|e| e.kind());
    drop(listener);
    let third = TcpListener::bind(addr).await;
    let second = second.map_or_else(|kind| format!("{kind:?}"), |_| "bound twice".to_owned());
    Ok(vec![second, third.map_or_else(|e| e.to_string(), |_| "free again".to_owned())])
}

pub async fn address_not_available(_: Stage) -> io::Result<Told> {
    let elsewhere = TcpListener::bind("192.0.2.1:0".parse().unwrap()).await;
    Ok(vec![elsewhere.map_or_else(|e| format!("{:?}", e.kind()), |_| "bound elsewhere".to_owned())])
}

pub async fn connect_black_holed(stage: Stage) -> io::Result<Told> {
    stage.order(Order::Cut).await?;
    Ok(vec![told_with_time(1, "s", told_connect(stage.closed_port().await?)).await])
}

pub async fn connect_to_powered_off(stage: Stage) -> io::Result<Told> {
    stage.order(Order::PowerOffFar).await?;
    Ok(vec![told_with_time(1, "s", told_connect(stage.closed_port().await?)).await])
}

pub async fn half_close(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    stream.write_all(b"sixsix").await?;
    stream.shutdown().await?;
    let write = told_write(&mut stream, b"x").await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(vec![write, answer, told_read(&mut stream).await])
}

pub async fn counts_then_answers(addr: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr).await?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    stream.write_all(format!("{} bytes", all.len()).as_bytes()).await
}

pub async fn read_after_fin(stage: Stage) -> io::Result<Told> {
    let (listener, mut stream) = stage.meet().await?;
    let mut three = [0; 3];
    stream.read_exact(&mut three).await?;
    let mut told = vec![String::from_utf8_lossy(&three).into_owned()];
    told.push(told_read(&mut stream).await);
    told.push(told_read(&mut stream).await);
    told.push(told_write(&mut stream, b"ok").await);
    let (mut second, _) = listener.accept().await?;
    let mut heard = String::new();
    second.read_to_string(&mut heard).await?;
    told.push(heard);
    Ok(told)
}

pub async fn ends_then_listens(addr: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(b"abc").await?;
    stream.shutdown().await?;
    let mut two = [0; 2];
    stream.read_exact(&mut two).await?;
    let mut second = TcpStream::connect(addr).await?;
    second.write_all(&[b"heard ".as_slice(), &two].concat()).await
}

pub async fn write_after_close(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    let mut told = vec![told_read(&mut stream).await];
    told.push(told_write(&mut stream, b"x").await);
    told.push(told_failing_write(&stage, &mut stream).await?);
    told.push(told_read(&mut stream).await);
    Ok(told)
}

pub async fn leaves_at_once(addr: SocketAddr) -> io::Result<()> {
    TcpStream::connect(addr).await.map(drop)
}

pub async fn read_after_rst(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    stream.write_all(b"read, unread").await?;
    let mut three = [0; 3];
    stream.read_exact(&mut three).await?;
    let mut told = vec![String::from_utf8_lossy(&three).into_owned()];
    told.push(told_read(&mut stream).await);
    told.push(told_read(&mut stream).await);
    told.push(told_write(&mut stream, b"x").await);
    told.push(stream.peer_addr().map_or_else(|e| format!("peer: {:?}", e.kind()), |_| "peer: known".to_owned()));
    told.push(stream.shutdown().await.map_or_else(|e| format!("shutdown: {e}"), |()| "shutdown: ok".to_owned()));
    Ok(told)
}

pub async fn write_after_rst(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    stream.write_all(b"read, unread").await?;
    let mut told = vec![told_failing_write(&stage, &mut stream).await?];
    told.push(told_write(&mut stream, b"x").await);
    told.push(told_read(&mut stream).await);
    told.push(told_read(&mut stream).await);
    Ok(told)
}

pub async fn leaves_with_unread(addr: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.read_u8().await?;
    stream.write_all(b"bye").await
}

pub async fn listener_closed_before_accept(stage: Stage) -> io::Result<Told> {
    let listener = stage.listen().await?;
    let addr = listener.local_addr()?;
    let mut stream = TcpStream::connect(addr).await?;
    drop(listener);
    Ok(vec![told_read(&mut stream).await, told_connect(addr).await])
}

pub async fn stands_still(addr: SocketAddr) -> io::Result<()> {
    let _stream = TcpStream::connect(addr).await?;
    pending().await
}

pub async fn peer_killed(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    stage.order(Order::KillFar).await?;
    Ok(vec![told_read(&mut stream).await, told_failing_write(&stage, &mut stream).await?])
}

pub async fn peer_killed_with_unread(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    stream.write_all(b"never read").await?;
    stage.order(Order::KillFar).await?;
    Ok(vec![told_read(&mut stream).await, told_failing_write(&stage, &mut stream).await?])
}

pub async fn slow_reader(stage: Stage) -> io::Result<Told> {
    let (listener, mut stream) = stage.meet().await?;
    let (mut gate, _) = listener.accept().await?;
    let mut turn = Turn::new(&stage).await?;
    let chunk = vec![7; 64 << 10];
    let (mut written, mut refusals) = (0, 0);
    // Full is when it stays full while the kernel goes on.
    while refusals < 50 && written < 32 << 20 {
        let try_once = |cx: &mut std::task::Context<'_>| Poll::Ready(Pin::new(&mut stream).poll_write(cx, &chunk));
        match poll_fn(try_once).await {
            Poll::Ready(n) => (written, refusals) = (written + n?, 0),
            Poll::Pending => refusals += 1,
        }
        turn.pass().await?;
    }
    let mut told = vec![if refusals < 50 { "takes 32 MiB" } else { "waits" }.to_owned()];
    gate.write_all(b"go").await?;
    stream.write_all(&chunk).await?;
    told.push("goes on".to_owned());
    stream.shutdown().await?;
    let arrived = gate.read_u64().await?;
    let all = (written + chunk.len()) as u64;
    told.push(if arrived == all { "all arrived".to_owned() } else { format!("{arrived} of {all} arrived") });
    Ok(told)
}

pub async fn reads_when_told(addr: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr).await?;
    let mut gate = TcpStream::connect(addr).await?;
    gate.read_exact(&mut [0; 2]).await?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    gate.write_u64(all.iter().filter(|&&b| b == 7).count() as u64).await
}

pub async fn peer_powered_off(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    stage.order(Order::PowerOffFar).await?;
    let mut told = vec![told_write(&mut stream, b"ping").await];
    told.push(told_with_time(60, "min", told_read(&mut stream)).await);
    told.push(told_read(&mut stream).await);
    told.push(told_write(&mut stream, b"x").await);
    Ok(told)
}

pub async fn peer_powered_off_unasked(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    stage.order(Order::PowerOffFar).await?;
    // Longer than anything would be sent again.
    let read = timeout(Duration::from_secs(1200), told_read(&mut stream)).await;
    Ok(vec![read.unwrap_or_else(|_| "20 min of silence".to_owned())])
}

pub async fn peer_rebooted(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    stage.order(Order::PowerOffFar).await?;
    stage.order(Order::PowerOnFar).await?;
    Ok(vec![told_write(&mut stream, b"ping").await, told_read(&mut stream).await])
}

pub async fn short_partition(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    stage.order(Order::Cut).await?;
    stream.write_all(b"ping").await?;
    sleep(Duration::from_secs(10)).await;
    stage.order(Order::Mend).await?;
    Ok(vec![told_read(&mut stream).await])
}

pub async fn long_partition(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    stage.order(Order::Cut).await?;
    Ok(vec![told_write(&mut stream, b"ping").await, told_with_time(60, "min", told_read(&mut stream)).await])
}

pub async fn echoes(addr: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr).await?;
    let mut buf = [0; 64];
    loop {
        let n = stream.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n]).await?;
    }
}
