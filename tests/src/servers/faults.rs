//! [`Faults`]: what can happen to a server.

/// A server that can be made to fail.
pub trait Faults {
    /// Ends it at once, as a power cut does.
    fn kill(&self);

    /// Ends it at once, and starts it again where it was.
    ///
    /// # Panics
    ///
    /// If it does not start.
    fn restart(&self);

    /// Stops it where it is: its connections stay, and nothing answers.
    fn freeze(&self);

    /// Lets it go on.
    fn thaw(&self);
}

/// [`Faults`] of a server with a `process` that listens at `port`; `is_ready` says whether it does so.
macro_rules! faults {
    ($server:ident, $is_ready:path) => {
        impl $crate::servers::faults::Faults for $server {
            fn kill(&self) {
                self.process.kill();
            }

            fn restart(&self) {
                let answers = |it: &Process| it.answers(|| $is_ready(it, self.port));
                self.process.restart(answers);
            }

            fn freeze(&self) {
                self.process.freeze();
            }

            fn thaw(&self) {
                self.process.thaw();
            }
        }
    };
}

pub(super) use faults;
