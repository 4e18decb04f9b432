//! Who we are to a registry: what `docker login` wrote.

use std::env;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, bail};
use docker_credential::{CredentialRetrievalError as Error, DockerCredential};
use oci_client::secrets::RegistryAuth;

/// Credentials and where they are from.
pub struct Credentials {
    pub auth: RegistryAuth,
    origin: String,
}

impl Credentials {
    /// From `config.json`, its `credHelpers` and its `credsStore`; nobody's where it has none for `registry`.
    pub fn find(registry: &str) -> Result<Self> {
        let path = config_json();
        let file = path.display();
        // Docker calls its own registry by the address of an API that is gone.
        let key = if registry == "index.docker.io" { "https://index.docker.io/v1/" } else { registry };
        let nobody = |why: String| Self { auth: RegistryAuth::Anonymous, origin: why };
        Ok(match docker_credential::get_credential(key) {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                let origin = format!("as {user}, with the credentials of {file}");
                Self { auth: RegistryAuth::Basic(user, password), origin }
            }
            Ok(DockerCredential::IdentityToken(_)) => bail!(
                "{file} has an identity token for {registry}, which cannot be used here; log in with a user and a password or an access token"
            ),
            Err(Error::ConfigNotFound | Error::ConfigReadError) if !path.exists() => {
                nobody(format!("anonymously: there is no {file}"))
            }
            Err(Error::NoCredentialConfigured) => nobody(format!("anonymously: {file} has no {registry}")),
            // What every helper says of a registry that it does not know.
            Err(Error::HelperFailure { helper, stdout, .. }) if stdout.contains("credentials not found") => {
                nobody(format!("anonymously: {helper}, which {file} names, has no {registry}"))
            }
            Err(Error::HelperCommunicationError) => bail!(
                "{file} names a helper for {registry}, in credHelpers or credsStore, that does not run; its docker-credential-… must be in PATH"
            ),
            Err(error) => bail!("{file}, for {registry}: {error}"),
        })
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.origin)
    }
}

fn config_json() -> PathBuf {
    let directory = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let directory = directory.or_else(|| Some(env::home_dir()?.join(".docker")));
    directory.unwrap_or_default().join("config.json")
}
