//! The manifests: those of Kustomize, and those of the Helm chart. Both are rendered and held against the schemas of the oldest and the
//! newest Kubernetes that they are for, and Sluice is asked whether it takes the configurations in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::tools::{output, root, run, shown, tool};

/// The first with native sidecars that need no feature gate, and the newest whose schemas there are.
const VERSIONS: [&str; 2] = ["1.29", "1.37"];

/// What `kubectl apply` would be given.
pub(crate) struct Rendered {
    documents: Vec<Value>,
}

impl Rendered {
    /// Holds the documents against the schemas, which know every field, and reads them.
    fn check(yaml: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("rendered.yaml");
        fs::write(&file, yaml).unwrap();
        let validate = tool("kubernetes-validate");
        let mut command = Command::new(&validate);
        for version in VERSIONS {
            command.args(["--kubernetes-version", version]);
        }
        let said = run(command.arg("--strict").arg(&file));
        let python = validate.with_file_name("python3");
        let to_json = "import json, sys, yaml; print(json.dumps([d for d in yaml.safe_load_all(open(sys.argv[1])) if d]))";
        let documents = run(Command::new(python).args(["-c", to_json]).arg(&file));
        let documents: Vec<Value> = serde_json::from_str(&documents).unwrap();
        // A kind without a schema is only a warning.
        assert_eq!(said.matches(" passed for ").count(), VERSIONS.len() * documents.len(), "{said}");
        Self { documents }
    }

    fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.documents.iter().filter(|document| document["kind"] == kind).collect()
    }

    pub(crate) fn one(&self, kind: &str) -> &Value {
        let [one] = self.of_kind(kind)[..] else { panic!("there is one {kind}: {:#?}", self.documents) };
        one
    }

    /// Asks Sluice about each configuration.
    fn check_configurations(&self) {
        let maps = self.of_kind("ConfigMap");
        assert!(!maps.is_empty());
        let directory = tempfile::tempdir().unwrap();
        for map in maps {
            let file = directory.path().join("sluice.yaml");
            fs::write(&file, map["data"]["sluice.yaml"].as_str().unwrap()).unwrap();
            let mut check = Command::new(env!("CARGO_BIN_EXE_sluice"));
            run(check.args(["check", "--without-secrets"]).arg(&file).current_dir(directory.path()));
        }
    }

    /// Checks that everything of a gateway is about its Pods, and gives it the time that its configuration asks for.
    fn check_gateway(&self) {
        let set = self.one("StatefulSet");
        let pod = &set["spec"]["template"];
        let labels = &pod["metadata"]["labels"];
        assert_eq!(set["spec"]["selector"]["matchLabels"], *labels);
        let services = self.of_kind("Service");
        assert_eq!(services.len(), 2);
        for service in &services {
            assert_eq!(service["spec"]["selector"], *labels, "{service:#}");
        }
        assert!(services.iter().any(|service| service["metadata"]["name"] == set["spec"]["serviceName"]));
        assert_eq!(self.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], *labels);
        assert_eq!(self.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], *labels);
        assert_eq!(
            self.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"],
            set["metadata"]["name"]
        );
        // An autoscaler and a number of replicas would contradict each other each time that both are applied.
        assert_eq!(set["spec"]["replicas"], Value::Null);
        let metrics = &self.one("HorizontalPodAutoscaler")["spec"]["metrics"];
        assert_eq!(metrics[0]["pods"]["metric"]["name"], "sluice_pending_bytes");
        assert_eq!(self.one("ServiceAccount")["metadata"]["name"], pod["spec"]["serviceAccountName"]);
        assert_eq!(pod["spec"]["securityContext"]["fsGroup"], 65532);
        let container = &pod["spec"]["containers"][0];
        check_container(container, &pod["spec"], self);
        // shutdown_delay, shutdown_timeout, and ten seconds for dead letters and last answers.
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 45);
        let config = self.one("ConfigMap")["data"]["sluice.yaml"].as_str().unwrap();
        for setting in ["shutdown_delay: 5s", "shutdown_timeout: 25s", "directory: ./journal"] {
            assert!(config.contains(setting), "{setting}: {config}");
        }
    }
}

/// Checks that probes and mounts of a container are there, and that it may do little.
fn check_container(container: &Value, pod: &Value, rendered: &Rendered) {
    let ports = container["ports"].as_array().unwrap();
    for (probe, path) in [("startupProbe", "/readyz"), ("livenessProbe", "/healthz")] {
        let request = &container[probe]["httpGet"];
        assert_eq!(request["path"], path);
        assert!(ports.iter().any(|port| port["name"] == request["port"] && port["containerPort"] == 13133));
    }
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    let volumes = pod["volumes"].as_array().unwrap();
    let config = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|mount| mount["mountPath"] == "/etc/sluice");
    let config = config.expect("its configuration is mounted");
    // A file that is mounted by itself never changes.
    assert_eq!(config["subPath"], Value::Null);
    let volume = volumes.iter().find(|volume| volume["name"] == config["name"]).expect("the volume is there");
    let maps = rendered.of_kind("ConfigMap");
    assert!(maps.iter().any(|map| map["metadata"]["name"] == volume["configMap"]["name"]), "{volume:#}");
}

/// Checks that a Pod has Sluice beside its own containers.
fn check_sidecar(pod: &Value, rendered: &Rendered) {
    let sidecar = &pod["initContainers"][0];
    assert_eq!(sidecar["name"], "sluice");
    assert_eq!(
        sidecar["restartPolicy"], "Always",
        "without it, it would be waited for before the application starts"
    );
    check_container(sidecar, pod, rendered);
}

pub(crate) fn kustomize(directory: &str) -> Rendered {
    Rendered::check(&run(Command::new(tool("kustomize")).arg("build").arg(root(directory))))
}

/// A helm that knows which Kubernetes it renders for, and has no files of a user.
fn helm(home: &Path) -> Command {
    let mut command = Command::new(tool("helm"));
    command.env("HELM_CACHE_HOME", home).env("HELM_CONFIG_HOME", home).env("HELM_DATA_HOME", home);
    command
}

fn helm_template(chart: &Path, settings: &[&str]) -> Rendered {
    let home = tempfile::tempdir().unwrap();
    let mut command = helm(home.path());
    command.args(["template", "shop"]).arg(chart).args(["--kube-version", VERSIONS[0]]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    Rendered::check(&run(&mut command))
}

#[test]
fn kustomize_makes_a_gateway_that_kubernetes_takes() {
    let rendered = kustomize("deploy/kubernetes/gateway");
    rendered.check_gateway();
    rendered.check_configurations();
}

#[test]
fn kustomize_puts_a_sidecar_beside_applications_and_jobs() {
    let rendered = kustomize("deploy/kubernetes/examples");
    rendered.check_configurations();
    check_sidecar(&rendered.one("Deployment")["spec"]["template"]["spec"], &rendered);
    let job = &rendered.one("CronJob")["spec"]["jobTemplate"]["spec"];
    check_sidecar(&job["template"]["spec"], &rendered);
}

#[test]
fn helm_makes_a_gateway_that_kubernetes_takes() {
    let chart = root("deploy/helm/sluice");
    let all = [
        "gateway.autoscaling.enabled=true",
        "gateway.envFromSecrets={upstream-token}",
        "gateway.storage.className=fast",
    ];
    let rendered = helm_template(&chart, &all);
    rendered.check_gateway();
    rendered.check_configurations();
    let rendered = helm_template(&chart, &["gateway.replicas=5"]);
    assert_eq!(rendered.one("StatefulSet")["spec"]["replicas"], 5);
    assert!(rendered.of_kind("HorizontalPodAutoscaler").is_empty());
}

/// Copies an application's chart, with that of Sluice in it, into a directory.
fn application_in(directory: &Path) -> PathBuf {
    let application = directory.join("application");
    let copy = |from: &Path, to: &Path| {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        run(Command::new("cp").arg("-r").arg(from).arg(to));
    };
    copy(&root("tests/deploy/application"), &application);
    copy(&root("deploy/helm/sluice"), &application.join("charts/sluice"));
    application
}

#[test]
fn the_chart_puts_a_sidecar_into_the_pods_of_another_chart() {
    let directory = tempfile::tempdir().unwrap();
    let rendered = helm_template(&application_in(directory.path()), &[]);
    check_sidecar(&rendered.one("Deployment")["spec"]["template"]["spec"], &rendered);
    rendered.check_configurations();
    assert!(rendered.of_kind("StatefulSet").is_empty());
}

/// In place of the template of the same chart, as the Pod of which it is a part.
#[test]
fn helm_takes_what_the_documentation_shows() {
    let [block] = &shown("yaml", "helm")[..] else { panic!("there is one such block") };
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: shop }\n";
    let application = "  containers: [{ name: shop, image: 'registry.example.com/shop:1.0' }]\n";
    let directory = tempfile::tempdir().unwrap();
    let chart = application_in(directory.path());
    fs::remove_file(chart.join("templates/deployment.yaml")).unwrap();
    fs::write(chart.join("templates/pod.yaml"), format!("{pod}{}{application}", block.text)).unwrap();
    let rendered = helm_template(&chart, &[]);
    check_sidecar(&rendered.one("Pod")["spec"], &rendered);
    rendered.check_configurations();
}

#[test]
fn the_chart_is_free_of_what_helm_complains_about() {
    let home = tempfile::tempdir().unwrap();
    let mut lint = helm(home.path());
    let said = output(lint.args(["lint", "--strict"]).arg(root("deploy/helm/sluice")));
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

#[test]
fn chart_and_manifests_run_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, line) in [
        ("deploy/helm/sluice/Chart.yaml", format!("\nappVersion: {version}\n")),
        ("deploy/helm/sluice/Chart.yaml", format!("\nversion: {version}\n")),
        ("deploy/kubernetes/gateway/kustomization.yaml", format!("newTag: {version}\n")),
        ("deploy/kubernetes/sidecar/kustomization.yaml", format!("newTag: {version}\n")),
    ] {
        assert!(fs::read_to_string(root(file)).unwrap().contains(&line), "{file} does not have {line}");
    }
}

/// Beside a copy of the repository that is called `sluice`, as the page has it, and what the reader is to have.
#[test]
fn kustomize_takes_what_the_documentation_shows() {
    let shown = shown("yaml", "kustomize");
    assert_eq!(shown.len(), 2);
    for kustomization in shown {
        let directory = tempfile::tempdir().unwrap();
        let beside = |name: &str| directory.path().join(name);
        fs::create_dir(beside("sluice")).unwrap();
        run(Command::new("cp").arg("-r").arg(root("deploy")).arg(beside("sluice")));
        fs::copy(root("deploy/kubernetes/gateway/sluice.yaml"), beside("sluice.yaml")).unwrap();
        fs::copy(root("deploy/kubernetes/examples/shop.yaml"), beside("shop.yaml")).unwrap();
        fs::write(beside("kustomization.yaml"), kustomization.text).unwrap();
        let rendered = run(Command::new(tool("kustomize")).arg("build").arg(directory.path()));
        let rendered = Rendered::check(&rendered);
        rendered.check_configurations();
    }
}
