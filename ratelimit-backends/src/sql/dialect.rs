//! [`Dialect`]: what the two databases that decide by a statement write in different ways.

/// A database that decides by a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    #[cfg(feature = "postgres")]
    Postgres,
    #[cfg(feature = "mysql")]
    MySql,
}

impl Dialect {
    /// The quotient of two numbers that are not negative, without its fraction; `narrow` ones have 64 bits.
    pub(super) fn quotient(self, of: &str, by: &str, narrow: bool) -> String {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres if narrow => format!("(({of}) / ({by}))"),
            #[cfg(feature = "postgres")]
            Self::Postgres => format!("div({of}, {by})"),
            #[cfg(feature = "mysql")]
            Self::MySql => {
                let _ = narrow;
                format!("(({of}) DIV ({by}))")
            }
        }
    }
}
