//! [`Proxy`]: a line to a server that can be broken.

use core::future::pending;
use core::time::Duration;
use std::io::Result;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::select;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::wire::free_port;

/// How often another port is tried.
const TRIES: usize = 5;

/// What the line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It passes everything on, at once.
    Pass,
    /// It passes on so much later what the server says.
    Delay(Duration),
    /// It accepts connections, and holds all that is said on any. Once it passes again, what was held
    /// arrives, as after packets that were lost.
    Blackhole,
    /// It resets every connection, also new ones once they are accepted.
    Reset,
    /// It resets every connection, and nothing listens, as where a server was killed.
    Refuse,
    /// It closes a connection after so many more bytes of the server's: with 0 the server does what it
    /// is asked to, and nobody hears of it.
    CutAfter(usize),
}

/// A line to a server on this machine. It passes everything on until it is told otherwise.
#[derive(Debug)]
pub struct Proxy {
    /// Always there until it is dropped.
    runtime: Option<Runtime>,
    address: SocketAddr,
    turns: Arc<AtomicUsize>,
    line: watch::Sender<Line>,
    /// Says that the last change holds.
    changed: Mutex<mpsc::Receiver<()>>,
}

impl Proxy {
    /// Puts a line before the server at a port of this machine.
    ///
    /// # Panics
    ///
    /// If no port stays free for it.
    pub fn before(port: u16) -> Self {
        let listener = (0..TRIES)
            .find_map(|_| StdListener::bind((Ipv4Addr::LOCALHOST, free_port())).ok())
            .expect("a port that stays free");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("its address");
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (line, watched) = watch::channel(Line::Pass);
        let (done, changed) = mpsc::channel();
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a socket");
            accept(listener, server, counted, watched, done).await;
        });
        Self {
            runtime: Some(runtime),
            address,
            turns,
            line,
            changed: Mutex::new(changed),
        }
    }

    /// Where clients find the server, if it is one of Redis's kind.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// The port where clients find the server.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How often a client asked something after it had heard what was answered before: the round trips, of all connections.
    pub fn turns(&self) -> usize {
        self.turns.load(Ordering::SeqCst)
    }

    /// Changes what the line does, for the connections that there are and for new ones. It holds when this returns.
    ///
    /// # Panics
    ///
    /// If the line's port was taken while it refused.
    pub fn set(&self, line: Line) {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        self.line.send(line).expect("the line is there");
        changed.recv().expect("the line is there");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may be dropped where blocking is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Who spoke last on a connection.
struct Turns {
    all: Arc<AtomicUsize>,
    is_answered: AtomicBool,
}

impl Turns {
    fn of(all: &Arc<AtomicUsize>) -> Self {
        Self {
            all: Arc::clone(all),
            is_answered: AtomicBool::new(true),
        }
    }

    fn speaks(&self, is_answer: bool) {
        if self.is_answered.swap(is_answer, Ordering::SeqCst) && !is_answer {
            self.all.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Accepts connections, and says when a change of the line holds.
async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    turns: Arc<AtomicUsize>,
    mut line: watch::Receiver<Line>,
    done: mpsc::Sender<()>,
) {
    let address = listener.local_addr().expect("its address");
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        select! {
            biased;
            changed = line.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = *line.borrow_and_update();
                if now == Line::Refuse {
                    listener = None;
                } else if listener.is_none() {
                    let bound = TcpListener::bind(address).await;
                    listener = Some(bound.expect("the port stays free"));
                }
                if breaks(now) {
                    while connections.join_next().await.is_some() {}
                }
                // Whoever asked is gone only together with the runtime.
                let _ = done.send(());
            }
            Some(_) = connections.join_next() => {}
            Ok(client) = next(listener.as_ref()) => {
                connections.spawn(connect(client, server, Turns::of(&turns), line.clone()));
            }
        }
    }
}

async fn next(listener: Option<&TcpListener>) -> Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => pending().await,
    }
}

fn breaks(line: Line) -> bool {
    matches!(line, Line::Reset | Line::Refuse)
}

/// One connection, until either side closes it or the line breaks.
async fn connect(
    mut client: TcpStream,
    server: SocketAddr,
    turns: Turns,
    line: watch::Receiver<Line>,
) {
    let mut broken = line.clone();
    let is_broken = select! {
        biased;
        is_broken = async { broken.wait_for(|now| breaks(*now)).await.is_ok() } => is_broken,
        passed = pass_both(&mut client, server, &turns, line) => passed.is_err(),
    };
    if is_broken {
        // With this, closing is a reset.
        let _ = client.set_zero_linger();
    }
}

async fn pass_both(
    client: &mut TcpStream,
    server: SocketAddr,
    turns: &Turns,
    line: watch::Receiver<Line>,
) -> Result<()> {
    let mut server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    select! {
        passed = pass(from_client, to_server, turns, line.clone(), false) => passed,
        passed = pass(from_server, to_client, turns, line, true) => passed,
    }
}

/// One direction, until its source is closed or the line cuts it.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    turns: &Turns,
    mut line: watch::Receiver<Line>,
    is_answer: bool,
) -> Result<()> {
    let (sender, mut arrived) = unbounded_channel();
    // It reads on while something is held, so that each part is late by as much as it should be.
    let read = async move {
        let mut buffer = vec![0; 16_384];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            turns.speaks(is_answer);
            let _ = sender.send((Instant::now(), buffer[..length].to_vec()));
        }
        drop(sender);
        pending::<()>().await;
    };
    let write = async {
        let mut left = None;
        while let Some((at, bytes)) = arrived.recv().await {
            let now = loop {
                if line.has_changed().unwrap_or_default() {
                    left = None;
                }
                let now = *line.borrow_and_update();
                let until = match now {
                    Line::Blackhole => None,
                    Line::Delay(by) if is_answer => Some(at + by),
                    _ => break now,
                };
                select! {
                    _ = line.changed() => line.mark_changed(),
                    () = wait(until) => break now,
                }
            };
            match now {
                Line::CutAfter(count) if is_answer => {
                    let left = left.get_or_insert(count);
                    let part = bytes.len().min(*left);
                    to.write_all(&bytes[..part]).await?;
                    *left -= part;
                    if *left == 0 {
                        return Ok(());
                    }
                }
                _ => to.write_all(&bytes).await?,
            }
        }
        Ok(())
    };
    select! {
        written = write => written,
        () = read => Ok(()),
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}
