//! Values that know what they may be, whether they come from a flag or from a file.

use crate::client::DEFAULT_ADDRESS;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use thiserror::Error;

/// A number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Within<MIN, MAX> {
    fn new(number: u64) -> Option<Self> {
        u32::try_from(number).ok().filter(|number| (MIN..=MAX).contains(number)).map(Within)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// A text that is no number within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected a whole number from {min} to {max}")]
pub struct NotWithin {
    min: u32,
    max: u32,
}

impl<const MIN: u32, const MAX: u32> FromStr for Within<MIN, MAX> {
    type Err = NotWithin;

    fn from_str(text: &str) -> Result<Self, NotWithin> {
        text.parse().ok().and_then(Within::new).ok_or(NotWithin { min: MIN, max: MAX })
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Within<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number<const MIN: u32, const MAX: u32>;

        impl<const MIN: u32, const MAX: u32> Visitor<'_> for Number<MIN, MAX> {
            type Value = Within<MIN, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}, without quotes")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                let found = u64::try_from(number).ok().and_then(Within::new);
                found.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Within::new(number).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
            }
        }

        deserializer.deserialize_u64(Number)
    }
}

/// Where clients connect: an address of this machine that others can't reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ClientAddress(SocketAddr);

impl ClientAddress {
    /// The address.
    pub fn get(self) -> SocketAddr {
        self.0
    }
}

/// A text that is no address where clients may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClientAddressError {
    /// It is no address at all.
    #[error("expected an IP address and a port, such as {DEFAULT_ADDRESS}")]
    NoAddress,
    /// Others could reach it.
    #[error(
        "this version has no authentication of clients, so it listens for them only where other machines can't \
         reach it (127.0.0.1 or [::1]); tunnel to it, by SSH for example, from elsewhere"
    )]
    NotLoopback,
}

impl FromStr for ClientAddress {
    type Err = ClientAddressError;

    fn from_str(text: &str) -> Result<ClientAddress, ClientAddressError> {
        let text = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_string(),
        };
        let address: SocketAddr = text.parse().map_err(|_| ClientAddressError::NoAddress)?;
        if address.ip().is_loopback() { Ok(ClientAddress(address)) } else { Err(ClientAddressError::NotLoopback) }
    }
}

impl TryFrom<String> for ClientAddress {
    type Error = ClientAddressError;

    fn try_from(text: String) -> Result<ClientAddress, ClientAddressError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientAddress, ClientAddressError, Within};

    #[test]
    fn numbers_stay_within_their_bounds() {
        let parsed = |text: &str| text.parse::<Within<2, 10>>().map(Within::get).ok();
        assert_eq!([parsed("2"), parsed("10")], [Some(2), Some(10)]);
        for text in ["1", "11", "-3", "4294967298", "two", ""] {
            assert_eq!(parsed(text), None, "{text}");
        }
        let error = "0".parse::<Within<1, 4096>>().unwrap_err();
        assert_eq!(error.to_string(), "expected a whole number from 1 to 4096");
    }

    #[test]
    fn clients_connect_on_loopback_alone() {
        let parsed = |text: &str| text.parse::<ClientAddress>().map(|address| address.get().to_string());
        assert_eq!(parsed("localhost:0").as_deref(), Ok("127.0.0.1:0"));
        assert_eq!(parsed("[::1]:7379").as_deref(), Ok("[::1]:7379"));
        for text in ["0.0.0.0:7379", "192.168.1.1:7379", "[::]:7379"] {
            assert_eq!(parsed(text), Err(ClientAddressError::NotLoopback), "{text}");
        }
        for text in ["7379", "127.0.0.1", "example.com:7379", "127.0.0.1:70000"] {
            assert_eq!(parsed(text), Err(ClientAddressError::NoAddress), "{text}");
        }
    }
}
