//! What is wrong, and how it is said.

use core::fmt;
use std::borrow::Cow;

use crate::site::Site;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Location {
    /// The file.
    pub file: Cow<'static, str>,
    /// The line, from 1 on.
    pub line: u32,
    /// The column, from 1 on.
    pub column: u32,
}

impl Location {
    pub(super) fn of(site: &Site) -> Self {
        let (line, column) = (site.line, site.column);
        Self {
            file: site.file.into(),
            line,
            column,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Where the attribute is that is wrong; `None` where it is the builder.
    pub location: Option<Location>,
    /// The policy that is wrong, where it is one.
    pub policy: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        if let Some(policy) = &self.policy {
            write!(f, "policy `{policy}`: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Why a registry could not be built or installed: every fault that was found.
///
/// Its `Debug` form is its message, so that a `main` that returns it prints something to read.
#[derive(Clone, PartialEq, Eq)]
pub struct InstallError {
    faults: Vec<Fault>,
}

impl InstallError {
    pub(super) fn already_installed() -> Self {
        Self { faults: Vec::new() }
    }

    /// Whether nothing is wrong but that a registry was installed before.
    pub fn is_already_installed(&self) -> bool {
        self.faults.is_empty()
    }

    /// The faults, those of the builder first, then by file and line.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_already_installed() {
            return f.write_str("a registry is already installed; it is installed once, in `main`");
        }
        let count = self.faults.len();
        let s = if count == 1 { "" } else { "s" };
        write!(f, "{count} fault{s} in the rate limits")?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for InstallError {}

/// The faults so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, message: impl Into<String>) {
        self.0.push(Fault {
            location: None,
            policy: None,
            message: message.into(),
        });
    }

    pub(super) fn add_policy(&mut self, policy: &str, message: impl Into<String>) {
        let policy = Some(policy.to_owned());
        self.0.push(Fault {
            location: None,
            policy,
            message: message.into(),
        });
    }

    pub(super) fn add_site(&mut self, site: &Site, message: impl Into<String>) {
        self.0.push(Fault {
            location: Some(Location::of(site)),
            policy: Some(site.name.to_owned()),
            message: message.into(),
        });
    }

    pub(super) fn into_result(mut self) -> Result<(), InstallError> {
        self.0
            .sort_by(|one, other| one.location.cmp(&other.location));
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(InstallError { faults: self.0 })
        }
    }
}

/// Says that a name is unknown, which is nearest, and which there are.
pub(super) fn unknown<S: AsRef<str>>(
    what: &str,
    found: &str,
    known: impl Iterator<Item = S> + Clone,
) -> String {
    let nearest = known
        .clone()
        .map(|name| (strsim::jaro_winkler(found, name.as_ref()), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let meant = match nearest {
        Some((_, name)) => format!("did you mean `{}`? ", name.as_ref()),
        None => String::new(),
    };
    format!(
        "unknown {what} `{found}`; {meant}there are: {}",
        list(known)
    )
}

/// How many names are worth reading.
const LISTED: usize = 12;

/// Names, separated by commas.
pub(super) fn list<S: AsRef<str>>(names: impl Iterator<Item = S>) -> String {
    let mut list = String::new();
    let mut count = 0_usize;
    for name in names.filter(|name| !name.as_ref().is_empty()) {
        count += 1;
        if count <= LISTED {
            list.push_str(if count > 1 { ", " } else { "" });
            list.push_str(name.as_ref());
        }
    }
    match count {
        0 => "none".to_owned(),
        count if count > LISTED => format!("{list} and {} more", count - LISTED),
        _ => list,
    }
}
