//! Sluice in this process.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice::cli;
use sluice::config::ConfigSource;
use sluice::journal::{Journal, Recovery};
use sluice::net::Network;
use sluice::run::{ReloadError, Role, Router, RouterEnvironment};

use super::Front;
use super::editor_schema;
use super::http::{self, Answer};

/// What a configuration is given if it says nothing of its own.
const LISTENERS: [(&str, &str); 2] = [
    ("receivers:", "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0 } } } }\n"),
    ("admin:", "admin: { endpoint: 127.0.0.1:0 }\n"),
];

/// A router that lives as long as the test's runtime, with a directory of its own, which `@DIR@` stands for in its
/// configuration. Listeners on free ports are added to a configuration that names none.
pub struct Sluice {
    front: Front,
    router: Arc<Router>,
    config: PathBuf,
    directory: tempfile::TempDir,
}

impl Sluice {
    /// Starts; the configuration has to be right.
    pub async fn start(yaml: &str) -> Self {
        Self::try_start(yaml).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts, or says why not.
    pub async fn try_start(yaml: &str) -> Result<Self, ReloadError> {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        let config = write_config(directory.path(), yaml);
        let env: fn(&str) -> Option<String> = |_| None;
        let router = Router::start(ConfigSource::File(config.clone()), env, cli::run::serve()).await?;
        editor_schema::takes(&config);
        Ok(Self::of(router, config, directory).await)
    }

    /// As [`Sluice::start`], with a journal that is open already. The configuration has to have one, too.
    pub async fn start_with_journal(yaml: &str, journal: (Journal, Recovery)) -> Self {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        let config = write_config(directory.path(), yaml);
        let (source, env) = (ConfigSource::File(config.clone()), (|_| None) as fn(&str) -> Option<String>);
        let compiled = sluice::config::load(&source, &env).unwrap_or_else(|problems| panic!("{problems}"));
        let (serve, network) = (cli::run::serve(), Network::Machine);
        let environment = RouterEnvironment { source, env, serve, network, journal: Some(journal) };
        let router = Router::start_on(environment, compiled).await.unwrap_or_else(|error| panic!("{error}"));
        Self::of(router, config, directory).await
    }

    async fn of(router: Arc<Router>, config: PathBuf, directory: tempfile::TempDir) -> Self {
        let front = Front {
            otlp: router.addresses(Role::Otlp).await[0],
            admin: router.addresses(Role::Admin).await[0],
        };
        Self { front, router, config, directory }
    }

    /// Writes another configuration and asks for it; the answer says whether it is in use.
    pub async fn reload(&self, yaml: &str) -> Answer {
        write_config(self.directory.path(), yaml);
        http::send(self.front.admin, "POST", "/api/v1/reload", &[], bytes::Bytes::new()).await
    }

    /// Reloads with a configuration that has to be right.
    pub async fn reconfigure(&self, yaml: &str) {
        let answer = self.reload(yaml).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        editor_schema::takes(&self.config);
    }

    /// The router itself.
    pub fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// What `@DIR@` stands for.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Shuts down as on SIGTERM; returns what was left.
    pub async fn shut_down(&self) -> sluice::run::Leftovers {
        sluice::run::shut_down(&self.router).await
    }
}

impl Deref for Sluice {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

/// Completes a configuration and writes it into the directory that it belongs to.
pub fn write_config(directory: &Path, yaml: &str) -> PathBuf {
    let mut text = yaml.replace("@DIR@", directory.to_str().expect("temporary directories are UTF-8"));
    for (section, listeners) in LISTENERS {
        if !text.lines().any(|line| line.starts_with(section)) {
            text = format!("{listeners}{text}");
        }
    }
    let config = directory.join("sluice.yaml");
    let new = directory.join("sluice.yaml.new");
    std::fs::write(&new, text).expect("the temporary directory can be written");
    std::fs::rename(&new, &config).expect("the temporary directory can be written");
    config
}
