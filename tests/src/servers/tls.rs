//! [`Certificates`]: an authority made for one server, and what it signed.

use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::process::Folder;
use super::template::{is_root, run};

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, as PEM.
    pub certificate: String,
    /// Its private key, as PEM.
    pub key: String,
}

/// An authority of its own, and the two identities that it vouches for. All of it is PEM.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The certificate of the authority: what a client has to trust.
    pub authority: String,
    /// The server's, for `localhost` and `127.0.0.1`.
    pub server: Identity,
    /// A client's, for a server that asks for one.
    pub client: Identity,
}

/// How a server speaks TLS.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) port: u16,
    pub(super) mutual: bool,
    pub(super) certificates: Certificates,
}

impl Certificates {
    /// Makes new ones.
    pub fn new() -> Self {
        let mut authority = parameters("tests", &[]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages.push(KeyUsagePurpose::KeyCertSign);
        let key = KeyPair::generate().expect("a key");
        let certificate = authority.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(authority, key);

        let signed = |name, hosts: &[&str], purpose| {
            let mut parameters = parameters(name, hosts);
            parameters.use_authority_key_identifier_extension = true;
            parameters
                .key_usages
                .push(KeyUsagePurpose::DigitalSignature);
            parameters.extended_key_usages.push(purpose);
            let key = KeyPair::generate().expect("a key");
            let certificate = parameters.signed_by(&key, &issuer).expect("a certificate");
            Identity {
                certificate: certificate.pem(),
                key: key.serialize_pem(),
            }
        };
        Self {
            authority: certificate.pem(),
            server: signed(
                "server",
                &["localhost", "127.0.0.1"],
                ExtendedKeyUsagePurpose::ServerAuth,
            ),
            client: signed("client", &[], ExtendedKeyUsagePurpose::ClientAuth),
        }
    }

    /// Writes them to files, and returns the same with the paths of these.
    pub(super) fn write(&self, folder: &Folder) -> Self {
        let identity = |name: &str, identity: &Identity| Identity {
            certificate: folder.write(&format!("{name}.pem"), &identity.certificate),
            key: folder.write(&format!("{name}.key"), &identity.key),
        };
        Self {
            authority: folder.write("authority.pem", &self.authority),
            server: identity("server", &self.server),
            client: identity("client", &self.client),
        }
    }

    /// The same for a server that is run as this user, if it is, and that keeps its key to itself.
    pub(super) fn write_for(&self, user: &str, folder: &Folder) -> Self {
        let files = self.write(folder);
        run(Command::new("chmod").args(["600", &files.server.key]));
        if is_root() {
            run(Command::new("chown").args([user, &files.server.key]));
        }
        files
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

fn parameters(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut parameters = CertificateParams::new(hosts).expect("they are names");
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}
