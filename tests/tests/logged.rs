//! A process that installs no registry, and whose log is limited.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "1/d")]
fn line() -> Result<(), Rejection> {
    Ok(())
}

struct Limited;

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        line().map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_writes_the_log_may_be_limited_itself() {
    let (sender, done) = mpsc::channel();
    std::thread::spawn(move || {
        let subscriber = tracing_subscriber::fmt().with_writer(|| Limited).finish();
        let second = tracing::subscriber::with_default(subscriber, || line().is_err());
        let _ = sender.send(second);
    });
    let second = done.recv_timeout(Duration::from_secs(20));
    assert_eq!(
        second,
        Ok(true),
        "the line that says that there is no registry was the first"
    );
}
