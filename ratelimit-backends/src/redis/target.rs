//! [`Target`]: the servers as the user names them, and the clients that are made of it.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::Error;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError,
};

use super::link::{MakeSentinelClient, Topology};
use super::secrets::Secrets;
use crate::checks::wrong;

#[derive(Clone)]
pub(super) enum Target {
    Url(String),
    Sentinels {
        urls: Vec<String>,
        service: String,
    },
    Cluster(Vec<String>),
    /// Made by the user.
    Client(Client),
    SentinelClients(Arc<MakeSentinelClient>),
    ClusterClients(Vec<Client>),
}

/// What is told besides of the servers.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: Option<i64>,
    pub(super) keep_alive: Duration,
    #[cfg(feature = "redis-tls")]
    pub(super) certificates: Option<redis::TlsCertificates>,
}

impl Target {
    pub(super) fn topology(&self, access: &Access) -> Result<Topology, Error> {
        #[cfg(feature = "redis-tls")]
        access.check_authority()?;
        match self {
            Self::Url(url) => access.standalone(url),
            Self::Sentinels { urls, service } => access.sentinels(urls, service),
            Self::Cluster(urls) => access.cluster(urls),
            Self::Client(client) => {
                access.is_all_in("the client")?;
                Ok(Topology::Standalone(Arc::new(client.clone())))
            }
            Self::SentinelClients(make) => {
                access.is_all_in("the client")?;
                // What they log in with is not known here.
                Ok(Topology::Sentinel(Arc::clone(make), Secrets::default()))
            }
            Self::ClusterClients(clients) => {
                access.is_all_in("the client")?;
                nodes(clients.clone())
            }
        }
    }
}

impl Access {
    fn standalone(&self, url: &str) -> Result<Topology, Error> {
        Ok(Topology::Standalone(Arc::new(self.client(url)?)))
    }

    fn cluster(&self, urls: &[String]) -> Result<Topology, Error> {
        let clients = urls.iter().map(|url| self.client(url));
        nodes(clients.collect::<Result<_, _>>()?)
    }

    fn client(&self, url: &str) -> Result<Client, Error> {
        let info = self.server(url)?;
        #[cfg(feature = "redis-tls")]
        if let Some(certificates) = &self.certificates {
            return Client::build_with_tls(info, certificates.clone())
                .map_err(|error| no_url(&error));
        }
        Client::open(info).map_err(|error| no_url(&error))
    }

    fn sentinels(&self, urls: &[String], service: &str) -> Result<Topology, Error> {
        some(urls, "a Sentinel")?;
        let infos = urls.iter().map(|url| parsed(url));
        let infos: Vec<ConnectionInfo> = infos.collect::<Result<_, _>>()?;
        let passwords = infos.iter().map(|info| info.redis_settings().password());
        let secrets = Secrets::of(passwords.chain([self.password.as_deref()]));
        let (access, service) = (self.clone(), service.to_owned());
        let make = move |attempt: usize| {
            let mut addresses: Vec<_> = infos.iter().map(|info| info.addr().clone()).collect();
            let first = attempt % addresses.len().max(1);
            addresses.rotate_left(first);
            let mut builder =
                SentinelClientBuilder::new(addresses, &service, SentinelServerType::Master)?
                    .set_client_to_redis_protocol(ProtocolVersion::RESP3)
                    .set_client_to_redis_tcp_settings(access.tcp())
                    .set_client_to_sentinel_tcp_settings(access.tcp());
            if let Some(name) = &access.username {
                builder = builder.set_client_to_redis_username(name);
            }
            if let Some(password) = &access.password {
                builder = builder.set_client_to_redis_password(password);
            }
            if let Some(database) = access.database {
                builder = builder.set_client_to_redis_db(database);
            }
            let settings = infos.first().map(ConnectionInfo::redis_settings);
            if let Some(name) = settings.and_then(redis::RedisConnectionInfo::username) {
                builder = builder.set_client_to_sentinel_username(name);
            }
            if let Some(password) = settings.and_then(redis::RedisConnectionInfo::password) {
                builder = builder.set_client_to_sentinel_password(password);
            }
            #[cfg(feature = "redis-tls")]
            {
                if infos.iter().any(|info| is_tls(info.addr())) {
                    builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
                }
                if let Some(certificates) = &access.certificates {
                    builder = builder
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_certificates(certificates.clone());
                }
            }
            builder.build()
        };
        // What is wrong with it is said now.
        make(0).map_err(|error| no_url(&error))?;
        Ok(Topology::Sentinel(Arc::new(make), secrets))
    }

    /// The server of a URL, with all that was told besides.
    fn server(&self, url: &str) -> Result<ConnectionInfo, Error> {
        let info = parsed(url)?;
        let mut settings = info.redis_settings().clone();
        if !url.contains("protocol=") {
            // With it, the server's end of a connection is noticed at once.
            settings = settings.set_protocol(ProtocolVersion::RESP3);
        }
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        if let Some(database) = self.database {
            settings = settings.set_db(database);
        }
        let info = info.set_redis_settings(settings);
        Ok(match info.addr() {
            ConnectionAddr::Unix(_) => info,
            _ => info.set_tcp_settings(self.tcp()),
        })
    }

    fn tcp(&self) -> TcpSettings {
        // A question is not held back to be sent together with the next.
        let settings = TcpSettings::default().set_nodelay(true);
        if self.keep_alive.is_zero() {
            return settings;
        }
        settings.set_keepalive(TcpKeepalive::new().with_time(self.keep_alive))
    }

    /// A client takes an authority without a certificate for one that vouches for nobody.
    #[cfg(feature = "redis-tls")]
    fn check_authority(&self) -> Result<(), Error> {
        use rustls::pki_types::{CertificateDer, pem::PemObject};

        let certificates = self.certificates.as_ref();
        let Some(authority) = certificates.and_then(|it| it.root_cert.as_ref()) else {
            return Ok(());
        };
        match CertificateDer::pem_slice_iter(authority).next() {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => {
                let message = "the authority is no certificate in PEM";
                Err(wrong(message))
            }
        }
    }

    fn is_all_in(&self, place: &str) -> Result<(), Error> {
        let told = self.username.is_some() || self.password.is_some() || self.database.is_some();
        #[cfg(feature = "redis-tls")]
        let told = told || self.certificates.is_some();
        if !told {
            return Ok(());
        }
        let message =
            format!("user, password, database and certificates have to be set in {place} itself");
        Err(wrong(message))
    }
}

fn parsed(url: &str) -> Result<ConnectionInfo, Error> {
    if !cfg!(feature = "redis-tls") && (url.starts_with("rediss:") || url.starts_with("valkeys:")) {
        let message = "`rediss://` asks for TLS, which needs the feature `redis-tls`";
        return Err(wrong(message));
    }
    let info = url.into_connection_info().map_err(|error| no_url(&error))?;
    #[cfg(feature = "redis-tls")]
    if is_tls(info.addr()) {
        // Unless the program has chosen one, which then stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    Ok(info)
}

#[cfg(feature = "redis-tls")]
fn is_tls(address: &ConnectionAddr) -> bool {
    matches!(address, ConnectionAddr::TcpTls { .. })
}

fn some<T>(them: &[T], what: &str) -> Result<(), Error> {
    if !them.is_empty() {
        return Ok(());
    }
    let message = format!("at least one URL of {what} is needed");
    Err(wrong(message))
}

/// A cluster that these nodes are of.
fn nodes(clients: Vec<Client>) -> Result<Topology, Error> {
    some(&clients, "a node of the cluster")?;
    for client in &clients {
        let info = client.get_connection_info();
        let message = match info.addr() {
            ConnectionAddr::Unix(_) => "the nodes of a Redis Cluster are reached over TCP alone",
            _ if info.redis_settings().db() != 0 => "a Redis Cluster has database 0 alone",
            _ => continue,
        };
        return Err(wrong(message));
    }
    let clients = clients.into_iter().map(Arc::new).collect();
    Ok(Topology::Cluster(clients))
}

/// What is wrong with a URL says nothing of it, as it can have a password.
fn no_url(error: &RedisError) -> Error {
    let message = format!("this is no URL of a Redis server: {}", error.category());
    wrong(message)
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs and clients can have passwords.
        f.write_str(match self {
            Self::Url(_) | Self::Client(_) => "Standalone",
            Self::Sentinels { .. } | Self::SentinelClients(_) => "Sentinel",
            Self::Cluster(_) | Self::ClusterClients(_) => "Cluster",
        })
    }
}

#[cfg(all(test, not(feature = "redis-tls")))]
mod tests {
    use super::*;

    #[test]
    fn tls_that_was_not_compiled_in() {
        let error = parsed("rediss://user:secret@host/").expect_err("there is none");
        assert_eq!(
            error.to_string(),
            "configuration: `rediss://` asks for TLS, which needs the feature `redis-tls`"
        );
    }
}
