//! Where replicas reach each other: a host, by address or by name, and a port.

use serde::Deserialize;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use thiserror::Error;

/// Longest name of a host, and of the parts between its dots.
const MAX_NAME_LEN: usize = 253;
const MAX_LABEL_LEN: usize = 63;

/// A replica's address, as `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PeerAddress {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    /// In lower case.
    Name(String),
}

/// A text that is no address of a replica's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// There is no port.
    #[error("`{0}` has no port: write HOST:PORT, such as 10.0.0.1:7380")]
    NoPort(String),
    /// The port is none.
    #[error("`{0}` ends with no port that others can connect to: they are from 1 to 65535")]
    WrongPort(String),
    /// An IPv6 address without brackets.
    #[error("`{0}`: an IPv6 address stands in brackets, such as [fd00::1]:7380")]
    NoBrackets(String),
    /// The host is neither an address nor a name.
    #[error("`{0}` names no host: write an IP address or a host's name, and a port, such as replica-1.example:7380")]
    WrongHost(String),
}

impl PeerAddress {
    /// Whether only processes of this machine can be meant, whatever names stand for.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => ip.is_loopback(),
            Host::Name(name) => name == "localhost",
        }
    }

    /// Whether it stands for all addresses of a machine, which is one to listen on and none to connect to.
    pub fn is_unspecified(&self) -> bool {
        matches!(self.host, Host::Ip(ip) if ip.is_unspecified())
    }

    /// The address to listen on; of several that a name stands for, the first.
    ///
    /// # Errors
    /// The name stands for none.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        match &self.host {
            Host::Ip(ip) => Ok(SocketAddr::new(*ip, self.port)),
            Host::Name(name) => (name.as_str(), self.port)
                .to_socket_addrs()?
                .next()
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name stands for no address")),
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl FromStr for PeerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<PeerAddress, AddressError> {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(AddressError::NoBrackets(text.into()));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| AddressError::NoPort(text.into()))?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| AddressError::WrongPort(text.into()))?;
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match in_brackets {
            Some(ip) => ip.parse::<Ipv6Addr>().ok().map(|ip| Host::Ip(ip.into())),
            None if host.contains(':') => return Err(AddressError::NoBrackets(text.into())),
            None => match host.parse::<Ipv4Addr>() {
                Ok(ip) => Some(Host::Ip(ip.into())),
                Err(_) => is_name(host).then(|| Host::Name(host.to_ascii_lowercase())),
            },
        };
        let host = host.ok_or_else(|| AddressError::WrongHost(text.into()))?;
        Ok(PeerAddress { host, port })
    }
}

impl TryFrom<String> for PeerAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<PeerAddress, AddressError> {
        text.parse()
    }
}

/// Whether it can be a host's name. One that ends with a number was meant to be an address.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_LEN).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= MAX_NAME_LEN && text.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{AddressError, PeerAddress};

    fn parsed(text: &str) -> Result<PeerAddress, AddressError> {
        text.parse()
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        for text in ["10.0.0.1:7380", "[fd00::1]:7380", "replica-1.example:1", "localhost:65535", "db_1:7380"] {
            assert_eq!(parsed(text).unwrap().to_string(), text);
        }
        assert_eq!(parsed("Replica.Example:7380").unwrap(), parsed("replica.example:7380").unwrap());
        assert_eq!(parsed("127.0.0.1:7380").unwrap().resolve().unwrap().to_string(), "127.0.0.1:7380");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let is = |text: &str, expected: fn(String) -> AddressError| {
            assert_eq!(parsed(text), Err(expected(text.to_string())));
        };
        for text in ["replica", "10.0.0.1", ""] {
            is(text, AddressError::NoPort);
        }
        for text in ["a:", "a:0", "a:65536", "a:-1", "a:x"] {
            is(text, AddressError::WrongPort);
        }
        for text in ["fd00::1:7380", "::1"] {
            is(text, AddressError::NoBrackets);
        }
        for text in [":7380", "a b:7380", "10.0.0.256:7380", "[fd00::x]:7380", "-a:7380", "a..b:7380", "é:7380"] {
            is(text, AddressError::WrongHost);
        }
        is(&format!("{}:7380", "a".repeat(64)), AddressError::WrongHost);
        is(&format!("{}:7380", "a.".repeat(130) + "a"), AddressError::WrongHost);
    }

    #[test]
    fn loopback_is_known_without_asking_for_names() {
        for text in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "LOCALHOST:1"] {
            assert!(parsed(text).unwrap().is_loopback(), "{text}");
        }
        for text in ["10.0.0.1:1", "0.0.0.0:1", "replica:1"] {
            assert!(!parsed(text).unwrap().is_loopback(), "{text}");
        }
        assert!(parsed("0.0.0.0:1").unwrap().is_unspecified() && parsed("[::]:1").unwrap().is_unspecified());
    }
}
