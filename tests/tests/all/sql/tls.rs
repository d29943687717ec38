//! Databases that are asked over TLS.

use core::time::Duration;

use ratelimit_backends::sql::SqlBackend;
use ratelimit_core::{Backend, Error};
use ratelimit_tests::servers::Folder;
use ratelimit_tests::servers::mariadb::MariaDb;
use ratelimit_tests::servers::postgres::Postgres;
use ratelimit_tests::servers::tls::Certificates;

use super::PATIENCE;

async fn connect(url: &str) -> Result<(), Error> {
    let backend = SqlBackend::builder(url)
        .timeout(PATIENCE)
        .connect_timeout(Duration::from_secs(10))
        .connect()
        .await?;
    backend.close().await;
    Ok(())
}

/// Whoever trusts the authority is served, whoever trusts another is not, and says why.
async fn trusts(url: &str, authority: &str, another: &str) {
    connect(&url.replace("AUTHORITY", authority))
        .await
        .expect("it is trusted");
    let error = connect(&url.replace("AUTHORITY", another)).await;
    let error = format!("{:?}", error.expect_err("it is not trusted"));
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn servers_that_speak_tls() {
    let (certificates, folder) = (Certificates::new(), Folder::new());
    let authority = folder.write("authority.pem", &certificates.authority);
    let another = folder.write("another.pem", &Certificates::new().authority);

    let server = Postgres::with_tls(&certificates);
    let url = server.url() + "?sslmode=verify-full&sslrootcert=AUTHORITY";
    trusts(&url, &authority, &another).await;

    let server = MariaDb::with_tls(&certificates);
    server.ask("CREATE USER safe REQUIRE SSL; GRANT ALL ON *.* TO safe");
    let url = server.url().replace("root@", "safe@") + "?ssl-mode=VERIFY_IDENTITY&ssl-ca=AUTHORITY";
    trusts(&url, &authority, &another).await;
    let open = server.url().replace("root@", "safe@") + "?ssl-mode=DISABLED";
    connect(&open).await.expect_err("it requires TLS");
}
