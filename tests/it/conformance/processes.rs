//! The rows of processes: how they end, stand still and come back, as their peers see it.
//!
//! As with the rows of sockets, what is done to a process is an order, and what is told is words.

use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stormglass::rt::net::{TcpListener, TcpStream};
use stormglass::rt::select2;
use stormglass::rt::signal::terminated;
use stormglass::rt::task::spawn;
use stormglass::rt::time::timeout;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Told;
use super::rows::{Turn, told_connect, told_read, told_write};
use super::stage::{Order, Stage};

/// A connection whose end of life says good-bye, where a destructor still can.
struct Farewell(TcpStream);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = Pin::new(&mut self.0).poll_write(&mut Context::from_waker(Waker::noop()), b"bye");
    }
}

/// Whether nothing comes while the kernel, or the world, goes on.
async fn told_silence(stage: &Stage, stream: &mut TcpStream) -> io::Result<String> {
    let mut turn = Turn::new(stage).await?;
    for _ in 0..50 {
        let mut bytes = [0; 8];
        let mut buf = ReadBuf::new(&mut bytes);
        let try_once = |cx: &mut Context<'_>| Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut buf).is_ready());
        if poll_fn(try_once).await {
            return Ok(String::from_utf8_lossy(buf.filled()).into_owned());
        }
        turn.pass().await?;
    }
    Ok("silence".to_owned())
}

/// Where the other end of `stream` listens, by what it says.
async fn read_addr(stream: &mut TcpStream) -> io::Result<SocketAddr> {
    let port = stream.read_u16().await?;
    Ok(SocketAddr::new(stream.peer_addr()?.ip(), port))
}

/// A listener on the machine of `stream`'s own end; tells the other end its port.
async fn listen_beside(stream: &mut TcpStream, port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(SocketAddr::new(stream.local_addr()?.ip(), port)).await?;
    stream.write_u16(listener.local_addr()?.port()).await?;
    Ok(listener)
}

pub async fn peer_frozen(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    let there = read_addr(&mut stream).await?;
    stage.order(Order::FreezeFar).await?;
    let mut told = vec![told_write(&mut stream, b"ping").await, told_silence(&stage, &mut stream).await?];
    let knock = timeout(Duration::from_secs(5), told_connect(there)).await;
    told.push(knock.unwrap_or_else(|_| "no answer to connect".to_owned()));
    stage.order(Order::ThawFar).await?;
    told.push(told_read(&mut stream).await);
    Ok(told)
}

pub async fn echoes_beside_a_listener(addr: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr).await?;
    let _listener = listen_beside(&mut stream, 0).await?;
    let mut ping = [0; 4];
    stream.read_exact(&mut ping).await?;
    stream.write_all(&ping).await?;
    pending().await
}

pub async fn peer_terminated(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    let mut told = vec![told_read(&mut stream).await];
    stage.order(Order::TerminateFar).await?;
    told.push(told_read(&mut stream).await);
    told.push(told_read(&mut stream).await);
    Ok(told)
}

pub async fn ends_when_asked(addr: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr).await?;
    let ready = async {
        stream.write_all(b"ready").await?;
        pending::<io::Result<()>>().await
    };
    // The handler is there before anybody is told.
    select2(terminated(), ready).await;
    stream.write_all(b"asked").await
}

pub async fn peer_returns(stage: Stage) -> io::Result<Told> {
    let (listener, mut stream) = stage.meet().await?;
    let (mut second, _) = listener.accept().await?;
    let mut told = vec![told_read(&mut stream).await, told_read(&mut stream).await];
    told.push(told_read(&mut second).await);
    Ok(told)
}

pub async fn returns_beside_a_task(addr: SocketAddr) -> io::Result<()> {
    let farewell = Farewell(TcpStream::connect(addr).await?);
    let second = TcpStream::connect(addr).await?;
    spawn("holder", async move {
        let _second = second;
        pending::<()>().await;
    });
    drop(farewell);
    Ok(())
}

pub async fn killed_without_a_word(stage: Stage) -> io::Result<Told> {
    let (_listener, mut stream) = stage.meet().await?;
    stage.order(Order::KillFar).await?;
    Ok(vec![told_read(&mut stream).await])
}

pub async fn would_say_good_bye(addr: SocketAddr) -> io::Result<()> {
    let _farewell = Farewell(TcpStream::connect(addr).await?);
    pending().await
}

pub async fn port_of_the_killed(stage: Stage) -> io::Result<Told> {
    let (listener, mut stream) = stage.meet().await?;
    stream.write_u16(0).await?;
    let there = read_addr(&mut stream).await?;
    let mut connected = TcpStream::connect(there).await?;
    connected.read_u8().await?;
    stage.order(Order::KillFar).await?;
    let mut told = vec![told_read(&mut connected).await, told_connect(there).await];
    stage.order(Order::StartFar(listener.local_addr()?)).await?;
    let (mut stream, _) = listener.accept().await?;
    stream.write_u16(there.port()).await?;
    let again = read_addr(&mut stream).await?;
    told.push(if again == there { "bound again".to_owned() } else { again.to_string() });
    told.push(told_connect(again).await);
    Ok(told)
}

pub async fn listens_where_told(addr: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr).await?;
    let port = stream.read_u16().await?;
    let listener = listen_beside(&mut stream, port).await?;
    let (mut accepted, _) = listener.accept().await?;
    accepted.write_u8(1).await?;
    pending().await
}
