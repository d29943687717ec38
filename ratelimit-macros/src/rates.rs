//! Rates in string literals: read by the one grammar, written as constants.

use proc_macro2::TokenStream;
use ratelimit_core::{Algorithm, BurstFault, Limit, Limits, Rate};
use syn::{LitStr, Path};

/// The rates of one literal.
#[derive(Clone, Debug)]
pub(crate) struct Rates {
    /// As written, in order.
    written: Vec<Rate>,
    /// One for all, one for each, or none.
    bursts: Vec<u32>,
    limits: Limits,
}

impl Rates {
    /// Reads a literal.
    pub(crate) fn read(literal: &LitStr) -> syn::Result<Self> {
        let text = literal.value();
        let limits: Limits = text
            .parse()
            .map_err(|error| syn::Error::new(literal.span(), error))?;
        // Commas only stand between rates, so that each part is one.
        let rates = text
            .split(',')
            .map(str::parse)
            .collect::<Result<Vec<Rate>, _>>();
        let rates = rates.map_err(|error| syn::Error::new(literal.span(), error))?;
        Ok(Self {
            written: rates,
            bursts: Vec::new(),
            limits,
        })
    }

    /// The same with bursts; or what is wrong, and with which of the bursts if it is one.
    pub(crate) fn with_bursts(self, bursts: &[u32]) -> Result<Self, (BurstFault, Option<usize>)> {
        let limits = Limits::from_rates(&self.written, bursts).map_err(|fault| {
            let wrong = |(index, burst): (usize, &u32)| {
                let mut rates = match bursts.len() {
                    1 => self.written.iter(),
                    _ => self.written[index..=index].iter(),
                };
                rates.any(|rate| Limit::new(*rate).with_burst(*burst).is_err())
            };
            match fault {
                BurstFault::Count { .. } => (fault, None),
                _ => (fault, bursts.iter().enumerate().position(wrong)),
            }
        })?;
        Ok(Self {
            bursts: bursts.to_vec(),
            limits,
            ..self
        })
    }

    /// Whether they are written in the order in which [`Limits`] keeps them.
    pub(crate) fn in_order(&self) -> bool {
        let kept = self.limits.as_slice().iter().map(Limit::rate);
        kept.eq(self.written.iter().copied())
    }

    /// The rates in the order in which [`Limits`] keeps them.
    pub(crate) fn ordered(&self) -> String {
        let rates = self.limits.as_slice().iter();
        let rates: Vec<_> = rates.map(|limit| limit.rate().to_string()).collect();
        rates.join(", ")
    }

    /// The only rate, or how many there are.
    pub(crate) fn single(&self) -> Result<Rate, usize> {
        match self.written.as_slice() {
            [rate] => Ok(*rate),
            rates => Err(rates.len()),
        }
    }

    pub(crate) fn capacity(&self, algorithm: Algorithm) -> u32 {
        self.limits.capacity(algorithm)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A constant expression.
    pub(crate) fn to_tokens(&self, private: &Path) -> TokenStream {
        let rates = self.written.iter().map(|rate| {
            let (limit, millis) = (rate.limit(), millis(*rate));
            hygienic! { (#limit, #millis) }
        });
        let bursts = &self.bursts;
        hygienic! { #private::limits(&[#(#rates),*], &[#(#bursts),*]) }
    }
}

/// The period in milliseconds, which it is a whole number of.
pub(crate) fn millis(rate: Rate) -> u64 {
    u64::try_from(rate.period().as_millis()).unwrap_or(u64::MAX)
}
