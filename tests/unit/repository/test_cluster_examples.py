"""Images and schedulers (examples/containers, slurm, skypilot, kuberay): what of them can be held without a cluster."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from run import parser
from tests import ROOT
from tests.gpu.kit.pack import pinned

EXAMPLES = ROOT / "examples"
DOCKERFILE = (EXAMPLES / "containers/Dockerfile").read_text()
# As `hostname -I` may list them.
ADDRESSES = "127.0.1.1 fe80::1 10.0.0.1 10.0.0.2"
MAIN_JOB = ("--algo", "uft", "--data", "math", "--model", "Qwen/Qwen2.5-7B")


def flags_of(command: str) -> dict[str, Any]:
    """The flags of the run.py command in a text, as its parser takes them; the user's own are the main job's."""
    own = command.partition("run.py")[2].partition("'")[0]
    words = shlex.split(re.sub(r"\$\{?FLAGS\}?", shlex.join(MAIN_JOB), own))
    return vars(parser().parse_args([re.sub(r"\$\{?\w+\}?", "8", word) for word in words]))


@pytest.mark.parametrize("stack", ["cpu", "cuda"])
def test_an_image_installs_its_stack_from_the_lists_after_what_installing_reads(stack: str, tmp_path: Path) -> None:
    base, _, stages = DOCKERFILE.partition(f"FROM base AS {stack}\n")
    assert f"RUN ./install.sh --profile {stack}\n" in stages.partition("\nFROM ")[0]
    for line in re.findall(r"^COPY (.+)$", base.partition("\nFROM base AS ")[0], re.MULTILINE):
        *sources, target = line.split()
        (tmp_path / target).mkdir(parents=True, exist_ok=True)
        for source in sources:
            inside = tmp_path / target / (Path(source).name if (ROOT / source).is_file() else "")
            subprocess.run(["cp", "-rT", str(ROOT / source), str(inside)], check=True)
    assert (tmp_path / "install.sh").is_file()
    assert (tmp_path / f"requirements/locked-{stack}.txt").is_file()
    doctor = [sys.executable, "-m", "recipes.doctor", "--help"]
    subprocess.run(doctor, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, check=True, capture_output=True)


def test_nothing_of_the_repository_is_kept_out_of_an_image() -> None:
    left_out = {line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a clone")
    assert {name.partition("/")[0] for name in tracked.stdout.split()} & left_out == set()


@pytest.fixture
def submitted(tmp_path: Path) -> Any:
    """Runs the Slurm script on two nodes that are not there; Ray has one more each time it is asked, up to `nodes`.
    Returns the commands that srun was given."""
    asked, cores = tmp_path / "asked", tmp_path / "cores"
    nodes = f"*ray.nodes*) n=$(grep -c ray.nodes {asked}); echo $((n < NODES ? n : NODES)) ;;"
    note = f'echo "$SRUN_CPUS_PER_TASK" >> {cores};'
    note += f'echo "$RAY_ADDRESS $*" >> {asked}; case "$*" in {nodes} *) echo $ADDRESSES ;; esac'
    for name, does in {"scontrol": 'printf "%s\\n" $NAMES', "sleep": ":", "srun": note}.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").touch()
    slurm = {"JOB_ID": "12345", "JOB_NODELIST": "x", "SUBMIT_DIR": str(tmp_path), "JOB_NAME": "uft"}
    slurm |= {"GPUS_ON_NODE": "8", "CPUS_PER_TASK": "64"}
    variables = {f"SLURM_{name}": value for name, value in slurm.items()}

    def submit(
        *flags: str, nodes: int = 2, fails: str = "", addresses: str = ADDRESSES, names: str = "one two"
    ) -> list[str]:
        asked.unlink(missing_ok=True)
        variables.update(NODES=str(nodes), NAMES=names, ADDRESSES=addresses, RAY_WAIT_S="1" if fails else "50")
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        script = ["bash", str(EXAMPLES / "slurm/train.sbatch"), *flags]
        done = subprocess.run(script, env={"PATH": path, **variables}, capture_output=True, text=True, timeout=60)
        assert (done.returncode, fails in done.stderr) == (bool(fails), True), done.stderr
        # Every step with the job's cores, which srun does not take over by itself.
        assert set(cores.read_text().split("\n")) == {"64", ""}
        return asked.read_text().splitlines()

    return submit


def test_a_slurm_job_is_one_ray_cluster_and_goes_on_in_the_folder_of_its_configuration(submitted: Any) -> None:
    asked = submitted(*MAIN_JOB)
    heads = [line for line in asked if "ray start --head" in line]
    joins = [line for line in asked if "ray start --address=10.0.0.1:32345" in line]
    (trained,) = [line for line in asked if "run.py" in line]
    assert (len(heads), len(joins)) == (1, 1)
    assert trained.startswith("10.0.0.1:32345 ")
    found = flags_of(trained)
    assert (found["n_gpu"], found["nnodes"], found["model"]) == (8, 2, "Qwen/Qwen2.5-7B")
    # Its name has the hash of its settings (test_experiment.py), and --resume refuses any other run.
    assert found["resume"]
    assert not found.get("out")


def test_a_slurm_job_on_one_node_names_no_nodes_and_a_profile_of_its_own_stays(submitted: Any) -> None:
    (trained,) = [line for line in submitted("--algo", "sft", names="one", nodes=1) if "run.py" in line]
    assert "--nnodes" not in trained
    assert "--profile h100x8" in trained
    (trained,) = [line for line in submitted("--config", "mine.yaml") if "run.py" in line]
    assert "--profile" not in trained
    for given in (["--profile", "8x40gb"], ["--profile=8x40gb"]):
        (trained,) = [line for line in submitted(*MAIN_JOB, *given) if "run.py" in line]
        assert flags_of(trained)["profile"] == "8x40gb"


def test_a_slurm_job_trains_when_ray_has_all_nodes_and_ends_when_one_stays_away(submitted: Any) -> None:
    marks = ("--head", "ray.nodes", "--address", "run.py")
    order = [mark for line in submitted(*MAIN_JOB) for mark in marks if mark in line]
    # The two that go on beside the script may be noted a little later.
    assert sorted(order) == ["--address", "--head", "ray.nodes", "ray.nodes", "run.py"]
    assert [mark for mark in order if mark in ("ray.nodes", "run.py")][-1] == "run.py"
    asked = submitted(*MAIN_JOB, nodes=1, fails="Ray has 1 of 2 nodes after 1 s (RAY_WAIT_S)")
    assert not [line for line in asked if "run.py" in line]


def test_a_slurm_job_ends_where_other_nodes_cannot_reach_its_first(submitted: Any) -> None:
    for none in ("127.0.1.1 fe80::1", ""):
        asked = submitted(*MAIN_JOB, addresses=none, fails="one has no IPv4 address but its loopback")
        assert len(asked) == 1


def test_a_slurm_job_asks_for_cores_and_memory_of_its_nodes() -> None:
    text = (EXAMPLES / "slurm/train.sbatch").read_text()
    (one_node,) = re.findall(r"^# +srun (.+) python3 run.py", text, re.MULTILINE)
    for asked in (re.findall(r"^#SBATCH (\S+)$", text, re.MULTILINE), one_node.split()):
        assert {"--gpus-per-node=8", "--cpus-per-task=64", "--mem=0"} <= {*asked}


def written_by_a_run(started_in: Path) -> set[str]:
    """The folders of the repository that a run started elsewhere says it writes to."""
    command = [sys.executable, str(ROOT / "run.py"), "--idx", "elsewhere", "--dry_run"]
    said = subprocess.run(command, cwd=started_in, capture_output=True, text=True, check=True).stdout
    named = re.findall(r"^(?:folder|data): +(\S+)", said, re.MULTILINE)
    assert len(named) == 2, said
    # Paths are shown from where the command was given, if they lie below.
    return {Path(os.path.normpath(started_in / each)).relative_to(ROOT).parts[0] for each in named}


def test_kuberay_mounts_the_claim_where_a_run_writes(tmp_path: Path) -> None:
    job, claim = yaml.safe_load_all((EXAMPLES / "kuberay/train.yaml").read_text())
    (work,) = re.findall(r"^WORKDIR (\S+)$", DOCKERFILE, re.MULTILINE)
    assert f"python {work}/run.py " in job["spec"]["entrypoint"]
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        (shared,) = [each["name"] for each in pod["volumes"] if "persistentVolumeClaim" in each]
        mounted = {each["mountPath"]: each["subPath"] for each in container["volumeMounts"] if each["name"] == shared}
        assert {(f"{work}/{name}", name) for name in written_by_a_run(tmp_path)} <= mounted.items()
        (cache,) = [each["value"] for each in container["env"] if each["name"] == "HF_HOME"]
        assert cache in mounted
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_skypilot_links_the_bucket_where_a_run_writes(tmp_path: Path) -> None:
    task = yaml.safe_load((EXAMPLES / "skypilot/train.yaml").read_text())
    (bucket,) = task["file_mounts"]
    results, work = tmp_path / "results", tmp_path / "work"
    for name in ("conda", "python"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho "$PWD {name} $*"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    work.mkdir()
    variables = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "FLAGS": "--algo uft --data math"}

    def run() -> subprocess.CompletedProcess[str]:
        script = task["run"].replace(bucket, str(results))
        command = ["bash", "-c", script]
        return subprocess.run(command, cwd=work, env=variables, capture_output=True, text=True, check=False)

    # A managed job is run again on the same machine, too.
    for _ in range(2):
        assert f"{work} python run.py --n_gpu" in run().stdout
        assert {each.name: each.readlink() for each in work.iterdir()} == {
            name: results / name for name in written_by_a_run(tmp_path)
        }
        assert all((results / name).is_dir() for name in ("out", "data"))
    (work / "out").unlink()
    (work / "out").mkdir()
    done = run()
    assert done.returncode == 1
    assert "run.py" not in done.stdout


def test_what_kuberay_asks_of_its_image_and_cluster_is_there_and_in_the_docs() -> None:
    # Its probes of Ray's health are wget's.
    assert "wget" in re.findall(r"apt-get install -y --no-install-recommends (.+?) \\", DOCKERFILE)[0].split()
    text = (EXAMPLES / "kuberay/train.yaml").read_text()
    commands = re.findall(r"^# +(kubectl .+)$", text, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["create", "apply"]
    documented = (ROOT / "docs/clusters.md").read_text().splitlines()
    assert [line for line in documented if line.startswith("kubectl ")] == commands
    job, _ = yaml.safe_load_all(text)
    (container,) = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    (source,) = container["envFrom"]
    assert f"configmap {source['configMapRef']['name']} --from-literal=FLAGS=" in commands[0]


def test_kuberay_starts_the_pinned_ray_with_as_many_gpus_as_the_run_asks_for() -> None:
    job, claim = yaml.safe_load_all((EXAMPLES / "kuberay/train.yaml").read_text())
    cluster = job["spec"]["rayClusterSpec"]
    assert f"ray=={cluster['rayVersion']}" == pinned(ROOT / "requirements.txt")["ray"]
    groups = [{"replicas": 1, **cluster["headGroupSpec"]}, *cluster["workerGroupSpecs"]]
    found = flags_of(job["spec"]["entrypoint"])
    assert found["nnodes"] == sum(group["replicas"] for group in groups)
    assert found["resume"]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == found["n_gpu"]
        mounted = {each["name"] for each in container["volumeMounts"]}
        volumes = group["template"]["spec"]["volumes"]
        assert mounted == {each["name"] for each in volumes}
        assert claim["metadata"]["name"] in str(volumes)


def test_skypilot_starts_a_run_that_goes_on() -> None:
    task = yaml.safe_load((EXAMPLES / "skypilot/train.yaml").read_text())
    found = flags_of(task["run"])
    assert found["resume"]
    assert task["resources"]["accelerators"] == "H100:8"
    assert flags_of(f"run.py {task['envs']['FLAGS']}")["algo"] == "uft"
    for script in (task["setup"], task["run"]):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
