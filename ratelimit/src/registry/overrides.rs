//! [`Override`]: what the operator changes of a policy.

use core::time::Duration;

use ratelimit_core::{BurstFault, Limits, Mode, OnError};

/// What differs from the attribute, by policy name.
///
/// ```
/// use ratelimit::{Mode, Override, Registry, rate};
///
/// # #[ratelimit::ratelimit(name = "export", rate = "5/s")]
/// # fn export() -> Option<()> { Some(()) }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder()
///     .override_policy("export", Override::new().limits(rate!("20/s")).burst(50).mode(Mode::Shadow))
///     .build()?;
/// let export = registry.policies().into_iter().find(|policy| policy.name == "export").unwrap();
/// assert_eq!(export.limits.unwrap().to_string(), "20/s burst 50");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    pub(super) limits: Option<Limits>,
    pub(super) burst: Option<u32>,
    mode: Option<Mode>,
    on_error: Option<OnError>,
    wait: Option<Duration>,
    backend: Option<String>,
}

impl Override {
    /// Changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Other rates, also for a policy whose calls bring their own.
    #[must_use]
    pub fn limits(mut self, limits: impl Into<Limits>) -> Self {
        self.limits = Some(limits.into());
        self
    }

    /// Another burst, for each of its rates.
    #[must_use]
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// Another mode.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Another posture.
    #[must_use]
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = Some(on_error);
        self
    }

    /// Another time that its calls wait for a place before they are rejected, also for the plain
    /// API; zero to reject them at once. At most one hour.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Another backend.
    #[must_use]
    pub fn backend(mut self, name: impl Into<String>) -> Self {
        self.backend = Some(name.into());
        self
    }

    pub(super) fn new_mode(&self) -> Option<Mode> {
        self.mode
    }

    pub(super) fn new_on_error(&self) -> Option<OnError> {
        self.on_error
    }

    pub(super) fn new_wait(&self) -> Option<Duration> {
        self.wait
    }

    pub(super) fn backend_name(&self) -> Option<&str> {
        self.backend.as_deref()
    }

    /// Whether it gives a burst, by itself or with its limits.
    pub(super) fn has_burst(&self) -> bool {
        self.burst.is_some() || self.limits.is_some_and(|limits| limits.has_burst())
    }

    /// The limits that it makes of those that are there, if it changes them.
    pub(super) fn limits_of(&self, limits: &Limits) -> Option<Result<Limits, BurstFault>> {
        let changed = self.limits.as_ref().unwrap_or(limits);
        match self.burst {
            Some(burst) => Some(changed.with_bursts(&[burst])),
            None => self.limits.map(Ok),
        }
    }
}
