SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.bundles (
    digest character varying(64) NOT NULL,
    owner character varying(64) NOT NULL,
    created double precision NOT NULL,
    size integer NOT NULL,
    modules json NOT NULL
);
CREATE TABLE public.epochs (
    sweep_id character varying(96) NOT NULL,
    trial integer NOT NULL,
    epoch integer NOT NULL,
    "time" double precision NOT NULL,
    metrics json NOT NULL
);
CREATE TABLE public.events (
    id bigint NOT NULL,
    sweep_id character varying(96) NOT NULL,
    "time" double precision NOT NULL,
    kind character varying(32) NOT NULL,
    data json NOT NULL,
    key character varying(64)
);
CREATE SEQUENCE public.events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.events_id_seq OWNED BY public.events.id;
CREATE TABLE public.leases (
    name character varying(32) NOT NULL,
    holder character varying(64) NOT NULL,
    until double precision NOT NULL
);
CREATE TABLE public.server_keys (
    name character varying(32) NOT NULL,
    value character varying(64) NOT NULL
);
CREATE TABLE public.sweeps (
    id character varying(96) NOT NULL,
    name character varying(64) NOT NULL,
    owner character varying(64) NOT NULL,
    state character varying(16) NOT NULL,
    created double precision NOT NULL,
    changed double precision NOT NULL,
    spec text NOT NULL,
    priority integer NOT NULL,
    after json NOT NULL,
    bundle character varying(64),
    idempotency_key character varying(128),
    requested_action character varying(16),
    requested_by character varying(64),
    cause text,
    attempt integer NOT NULL,
    failures integer NOT NULL,
    more_trials integer NOT NULL,
    last_heartbeat double precision,
    slot_seconds double precision NOT NULL,
    gpu_hours double precision NOT NULL,
    progress json NOT NULL,
    slots integer,
    launched double precision,
    accept_changes boolean DEFAULT false NOT NULL,
    wider json DEFAULT '{}'::json NOT NULL
);
CREATE TABLE public.tokens (
    id bigint NOT NULL,
    "user" character varying(64) NOT NULL,
    digest character varying(64) NOT NULL,
    created double precision NOT NULL,
    expires double precision,
    revoked double precision
);
CREATE SEQUENCE public.tokens_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.tokens_id_seq OWNED BY public.tokens.id;
CREATE TABLE public.transitions (
    id bigint NOT NULL,
    sweep_id character varying(96) NOT NULL,
    "time" double precision NOT NULL,
    old character varying(16),
    new character varying(16) NOT NULL,
    cause text NOT NULL,
    by character varying(64) NOT NULL
);
CREATE SEQUENCE public.transitions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.transitions_id_seq OWNED BY public.transitions.id;
CREATE TABLE public.trials (
    sweep_id character varying(96) NOT NULL,
    number integer NOT NULL,
    state character varying(16) NOT NULL,
    role character varying(16) NOT NULL,
    value double precision,
    seconds double precision NOT NULL,
    ended double precision,
    facts json NOT NULL
);
CREATE TABLE public.users (
    name character varying(64) NOT NULL,
    role character varying(16) NOT NULL,
    created double precision NOT NULL,
    revoked double precision
);
CREATE TABLE public.webhooks (
    url character varying(512) NOT NULL,
    event bigint NOT NULL,
    tries integer NOT NULL,
    next_try double precision NOT NULL
);
ALTER TABLE ONLY public.events ALTER COLUMN id SET DEFAULT nextval('public.events_id_seq'::regclass);
ALTER TABLE ONLY public.tokens ALTER COLUMN id SET DEFAULT nextval('public.tokens_id_seq'::regclass);
ALTER TABLE ONLY public.transitions ALTER COLUMN id SET DEFAULT nextval('public.transitions_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0007');
INSERT INTO public.epochs VALUES ('digits-1', 0, 1, 1795703280.8542862, '{"val/loss": 0.521816145040487, "val/accuracy": 0.631578947368421, "train/loss": 0.5664023536077717, "train/accuracy": 0.5350877192982456, "gap/loss": -0.04458620856728468, "gap/accuracy": -0.0964912280701754, "train_running/loss": 0.6158040513740607, "sparsity": 0.0, "weight_norm": 1.5364397764205933, "lr": 0.01}');
INSERT INTO public.epochs VALUES ('digits-1', 0, 2, 1795703280.860511, '{"val/loss": 0.39339490983177694, "val/accuracy": 0.8771929824561403, "train/loss": 0.43705567760033565, "train/accuracy": 0.8245614035087719, "gap/loss": -0.043660767768558706, "gap/accuracy": -0.05263157894736836, "train_running/loss": 0.47330454717283726, "sparsity": 0.0, "weight_norm": 1.756478190422058, "lr": 0.0075}');
INSERT INTO public.epochs VALUES ('digits-1', 0, 3, 1795703280.8889687, '{"val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.3796021581744868, "sparsity": 0.0, "weight_norm": 1.8349109888076782, "lr": 0.0025000000000000014}');
INSERT INTO public.epochs VALUES ('digits-1', 1, 1, 1795703280.940178, '{"val/loss": 0.5204897673245061, "val/accuracy": 0.6403508771929824, "train/loss": 0.5642938632191273, "train/accuracy": 0.5350877192982456, "gap/loss": -0.0438040958946212, "gap/accuracy": -0.10526315789473684, "train_running/loss": 0.6128836265407349, "sparsity": 0.0, "weight_norm": 1.5352249145507812, "lr": 0.01}');
INSERT INTO public.epochs VALUES ('digits-1', 1, 2, 1795703280.9607508, '{"val/loss": 0.39149686991514865, "val/accuracy": 0.8859649122807017, "train/loss": 0.4338919255523044, "train/accuracy": 0.8421052631578947, "gap/loss": -0.04239505563715573, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.47661006625446756, "sparsity": 0.0, "weight_norm": 1.7492159605026245, "lr": 0.0075}');
INSERT INTO public.epochs VALUES ('digits-1', 1, 3, 1795703280.9718337, '{"val/loss": 0.35126887069067414, "val/accuracy": 0.9385964912280702, "train/loss": 0.3919443186911705, "train/accuracy": 0.8947368421052632, "gap/loss": -0.040675448000496384, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.38658907266655973, "sparsity": 0.0, "weight_norm": 1.8257482051849365, "lr": 0.0025000000000000014}');
INSERT INTO public.epochs VALUES ('digits-1', 2, 1, 1795703280.993549, '{"val/loss": 0.5196787918868818, "val/accuracy": 0.6403508771929824, "train/loss": 0.5639739945008043, "train/accuracy": 0.5350877192982456, "gap/loss": -0.0442952026139225, "gap/accuracy": -0.10526315789473684, "train_running/loss": 0.6151820655442403, "sparsity": 0.0, "weight_norm": 1.5355608463287354, "lr": 0.01}');
INSERT INTO public.epochs VALUES ('digits-1', 2, 2, 1795703281.0090215, '{"val/loss": 0.39032777529536633, "val/accuracy": 0.8771929824561403, "train/loss": 0.4332643718082915, "train/accuracy": 0.8333333333333334, "gap/loss": -0.042936596512925196, "gap/accuracy": -0.04385964912280693, "train_running/loss": 0.4718718766466963, "sparsity": 0.0, "weight_norm": 1.7553250789642334, "lr": 0.0075}');
INSERT INTO public.epochs VALUES ('digits-1', 2, 3, 1795703281.033972, '{"val/loss": 0.3497158222292599, "val/accuracy": 0.9385964912280702, "train/loss": 0.39098974923488866, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04127392700562876, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.37824846642457843, "sparsity": 0.0, "weight_norm": 1.833880066871643, "lr": 0.0025000000000000014}');
INSERT INTO public.epochs VALUES ('digits-1', 3, 1, 1795703281.0861204, '{"val/loss": 0.5244808334269022, "val/accuracy": 0.6491228070175439, "train/loss": 0.560724021049968, "train/accuracy": 0.5877192982456141, "gap/loss": -0.036243187623065776, "gap/accuracy": -0.06140350877192979, "train_running/loss": 0.6206213539996105, "sparsity": 0.0, "weight_norm": 1.521618366241455, "lr": 0.01}');
INSERT INTO public.epochs VALUES ('digits-1', 3, 2, 1795703281.1355367, '{"val/loss": 0.399266113902916, "val/accuracy": 0.9122807017543859, "train/loss": 0.4292970214758003, "train/accuracy": 0.8508771929824561, "gap/loss": -0.03003090757288429, "gap/accuracy": -0.06140350877192979, "train_running/loss": 0.5050625619300999, "sparsity": 0.0, "weight_norm": 1.7095319032669067, "lr": 0.0075}');
INSERT INTO public.epochs VALUES ('digits-1', 3, 3, 1795703281.1786537, '{"val/loss": 0.36023729627853945, "val/accuracy": 0.9385964912280702, "train/loss": 0.38929087766691256, "train/accuracy": 0.8947368421052632, "gap/loss": -0.029053581388373106, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.4359181423690662, "sparsity": 0.0, "weight_norm": 1.7741879224777222, "lr": 0.0025000000000000014}');
INSERT INTO public.epochs VALUES ('digits-1', 4, 1, 1795703281.270598, '{"val/loss": 0.523678660784897, "val/accuracy": 0.6578947368421053, "train/loss": 0.5595696798542089, "train/accuracy": 0.5789473684210527, "gap/loss": -0.035891019069311914, "gap/accuracy": -0.07894736842105265, "train_running/loss": 0.6194362248843017, "sparsity": 0.0, "weight_norm": 1.518103003501892, "lr": 0.01}');
INSERT INTO public.epochs VALUES ('digits-1', 4, 2, 1795703281.2794328, '{"val/loss": 0.39612999025797635, "val/accuracy": 0.9035087719298246, "train/loss": 0.42677950247991503, "train/accuracy": 0.8508771929824561, "gap/loss": -0.03064951222193868, "gap/accuracy": -0.052631578947368474, "train_running/loss": 0.500914542905746, "sparsity": 0.0, "weight_norm": 1.7128764390945435, "lr": 0.0075}');
INSERT INTO public.epochs VALUES ('digits-1', 4, 3, 1795703281.3074982, '{"val/loss": 0.35609051987136664, "val/accuracy": 0.9385964912280702, "train/loss": 0.38583900032793744, "train/accuracy": 0.8947368421052632, "gap/loss": -0.029748480456570803, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.4249838999639159, "sparsity": 0.0, "weight_norm": 1.784842610359192, "lr": 0.0025000000000000014}');
INSERT INTO public.epochs VALUES ('digits-2', 0, 1, 1795703384.3533845, '{"val/loss": 0.521816145040487, "val/accuracy": 0.631578947368421, "train/loss": 0.5664023536077717, "train/accuracy": 0.5350877192982456, "gap/loss": -0.04458620856728468, "gap/accuracy": -0.0964912280701754, "train_running/loss": 0.6158040513740607, "sparsity": 0.0, "weight_norm": 1.5364397764205933, "lr": 0.01}');
INSERT INTO public.epochs VALUES ('digits-2', 0, 2, 1795703384.4370997, '{"val/loss": 0.39339490983177694, "val/accuracy": 0.8771929824561403, "train/loss": 0.43705567760033565, "train/accuracy": 0.8245614035087719, "gap/loss": -0.043660767768558706, "gap/accuracy": -0.05263157894736836, "train_running/loss": 0.47330454717283726, "sparsity": 0.0, "weight_norm": 1.756478190422058, "lr": 0.0075}');
INSERT INTO public.epochs VALUES ('digits-2', 0, 3, 1795703384.5555115, '{"val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.3796021581744868, "sparsity": 0.0, "weight_norm": 1.8349109888076782, "lr": 0.0025000000000000014}');
INSERT INTO public.epochs VALUES ('digits-2', 1, 1, 1795703384.9062634, '{"val/loss": 0.5204897673245061, "val/accuracy": 0.6403508771929824, "train/loss": 0.5642938632191273, "train/accuracy": 0.5350877192982456, "gap/loss": -0.0438040958946212, "gap/accuracy": -0.10526315789473684, "train_running/loss": 0.6128836265407349, "sparsity": 0.0, "weight_norm": 1.5352249145507812, "lr": 0.01}');
INSERT INTO public.epochs VALUES ('digits-2', 1, 2, 1795703385.1315556, '{"val/loss": 0.39149686991514865, "val/accuracy": 0.8859649122807017, "train/loss": 0.4338919255523044, "train/accuracy": 0.8421052631578947, "gap/loss": -0.04239505563715573, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.47661006625446756, "sparsity": 0.0, "weight_norm": 1.7492159605026245, "lr": 0.0075}');
INSERT INTO public.epochs VALUES ('digits-2', 1, 3, 1795703385.5817091, '{"val/loss": 0.35126887069067414, "val/accuracy": 0.9385964912280702, "train/loss": 0.3919443186911705, "train/accuracy": 0.8947368421052632, "gap/loss": -0.040675448000496384, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.38658907266655973, "sparsity": 0.0, "weight_norm": 1.8257482051849365, "lr": 0.0025000000000000014}');
INSERT INTO public.events VALUES (1, 'digits-1', 1795703228.94103, 'state_changed', '{"time": 1795703228.94103, "old": null, "new": "queued", "cause": "submitted", "by": "ann"}', NULL);
INSERT INTO public.events VALUES (2, 'digits-1', 1795703228.995845, 'state_changed', '{"time": 1795703228.995845, "old": "queued", "new": "starting", "cause": "selected", "by": "queue"}', NULL);
INSERT INTO public.events VALUES (3, 'digits-1', 1795703236.920571, 'state_changed', '{"time": 1795703236.920571, "old": "starting", "new": "running", "cause": "its driver sent a heartbeat", "by": "driver"}', NULL);
INSERT INTO public.events VALUES (4, 'digits-1', 1795703281.1305108, 'trial_started', '{"trial": {"number": 0, "state": "running", "role": "baseline", "params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703280.732415, "ended": null}}', 'trial_started 0');
INSERT INTO public.events VALUES (5, 'digits-1', 1795703281.1305108, 'epoch_ended', '{"epoch": {"trial": 0, "epoch": 1, "time": 1795703280.8542862, "metrics": {"train/loss": 0.5664023536077717, "val/loss": 0.521816145040487, "gap/loss": -0.04458620856728468, "val/accuracy": 0.631578947368421, "gap/accuracy": -0.0964912280701754}}}', 'epoch_ended 0 1');
INSERT INTO public.events VALUES (6, 'digits-1', 1795703281.1305108, 'epoch_ended', '{"epoch": {"trial": 0, "epoch": 2, "time": 1795703280.860511, "metrics": {"train/loss": 0.43705567760033565, "val/loss": 0.39339490983177694, "gap/loss": -0.043660767768558706, "val/accuracy": 0.8771929824561403, "gap/accuracy": -0.05263157894736836}}}', 'epoch_ended 0 2');
INSERT INTO public.events VALUES (7, 'digits-1', 1795703281.1305108, 'epoch_ended', '{"epoch": {"trial": 0, "epoch": 3, "time": 1795703280.8889687, "metrics": {"train/loss": 0.3948310806514009, "val/loss": 0.3528375850108109, "gap/loss": -0.04199349564058996, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}', 'epoch_ended 0 3');
INSERT INTO public.events VALUES (8, 'digits-1', 1795703281.1305108, 'trial_ended', '{"trial": {"number": 0, "state": "complete", "role": "baseline", "params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "value": 0.3528375850108109, "best": {"train/loss": 0.3948310806514009, "val/loss": 0.3528375850108109, "gap/loss": -0.04199349564058996, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.15593218803405762, "started": 1795703280.732415, "ended": 1795703280.889555}}', 'trial_ended 0');
INSERT INTO public.events VALUES (9, 'digits-1', 1795703281.1305108, 'best_improved', '{"trial": {"number": 0, "state": "complete", "role": "baseline", "params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "value": 0.3528375850108109, "best": {"train/loss": 0.3948310806514009, "val/loss": 0.3528375850108109, "gap/loss": -0.04199349564058996, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.15593218803405762, "started": 1795703280.732415, "ended": 1795703280.889555}}', 'best_improved 0');
INSERT INTO public.events VALUES (10, 'digits-1', 1795703281.1305108, 'trial_started', '{"trial": {"number": 1, "state": "running", "role": "search", "params": {"dropout": 0.10100908115482898}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703280.893514, "ended": null}}', 'trial_started 1');
INSERT INTO public.events VALUES (11, 'digits-1', 1795703281.1305108, 'epoch_ended', '{"epoch": {"trial": 1, "epoch": 1, "time": 1795703280.940178, "metrics": {"train/loss": 0.5642938632191273, "val/loss": 0.5204897673245061, "gap/loss": -0.0438040958946212, "val/accuracy": 0.6403508771929824, "gap/accuracy": -0.10526315789473684}}}', 'epoch_ended 1 1');
INSERT INTO public.events VALUES (12, 'digits-1', 1795703281.1305108, 'epoch_ended', '{"epoch": {"trial": 1, "epoch": 2, "time": 1795703280.9607508, "metrics": {"train/loss": 0.4338919255523044, "val/loss": 0.39149686991514865, "gap/loss": -0.04239505563715573, "val/accuracy": 0.8859649122807017, "gap/accuracy": -0.04385964912280704}}}', 'epoch_ended 1 2');
INSERT INTO public.events VALUES (13, 'digits-1', 1795703281.1305108, 'epoch_ended', '{"epoch": {"trial": 1, "epoch": 3, "time": 1795703280.9718337, "metrics": {"train/loss": 0.3919443186911705, "val/loss": 0.35126887069067414, "gap/loss": -0.040675448000496384, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}', 'epoch_ended 1 3');
INSERT INTO public.events VALUES (14, 'digits-1', 1795703281.1305108, 'trial_ended', '{"trial": {"number": 1, "state": "complete", "role": "search", "params": {"dropout": 0.10100908115482898}, "value": 0.35126887069067414, "best": {"train/loss": 0.3919443186911705, "val/loss": 0.35126887069067414, "gap/loss": -0.040675448000496384, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.0776827335357666, "started": 1795703280.893514, "ended": 1795703280.97226}}', 'trial_ended 1');
INSERT INTO public.events VALUES (15, 'digits-1', 1795703281.1305108, 'best_improved', '{"trial": {"number": 1, "state": "complete", "role": "search", "params": {"dropout": 0.10100908115482898}, "value": 0.35126887069067414, "best": {"train/loss": 0.3919443186911705, "val/loss": 0.35126887069067414, "gap/loss": -0.040675448000496384, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.0776827335357666, "started": 1795703280.893514, "ended": 1795703280.97226}}', 'best_improved 1');
INSERT INTO public.events VALUES (16, 'digits-1', 1795703281.1305108, 'trial_started', '{"trial": {"number": 2, "state": "running", "role": "search", "params": {"dropout": 0.02281570508359223}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703280.977182, "ended": null}}', 'trial_started 2');
INSERT INTO public.events VALUES (17, 'digits-1', 1795703281.1305108, 'epoch_ended', '{"epoch": {"trial": 2, "epoch": 1, "time": 1795703280.993549, "metrics": {"train/loss": 0.5639739945008043, "val/loss": 0.5196787918868818, "gap/loss": -0.0442952026139225, "val/accuracy": 0.6403508771929824, "gap/accuracy": -0.10526315789473684}}}', 'epoch_ended 2 1');
INSERT INTO public.events VALUES (18, 'digits-1', 1795703281.1305108, 'epoch_ended', '{"epoch": {"trial": 2, "epoch": 2, "time": 1795703281.0090215, "metrics": {"train/loss": 0.4332643718082915, "val/loss": 0.39032777529536633, "gap/loss": -0.042936596512925196, "val/accuracy": 0.8771929824561403, "gap/accuracy": -0.04385964912280693}}}', 'epoch_ended 2 2');
INSERT INTO public.events VALUES (19, 'digits-1', 1795703281.1305108, 'epoch_ended', '{"epoch": {"trial": 2, "epoch": 3, "time": 1795703281.033972, "metrics": {"train/loss": 0.39098974923488866, "val/loss": 0.3497158222292599, "gap/loss": -0.04127392700562876, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}', 'epoch_ended 2 3');
INSERT INTO public.events VALUES (20, 'digits-1', 1795703281.1305108, 'trial_ended', '{"trial": {"number": 2, "state": "complete", "role": "search", "params": {"dropout": 0.02281570508359223}, "value": 0.3497158222292599, "best": {"train/loss": 0.39098974923488866, "val/loss": 0.3497158222292599, "gap/loss": -0.04127392700562876, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.0562136173248291, "started": 1795703280.977182, "ended": 1795703281.034401}}', 'trial_ended 2');
INSERT INTO public.events VALUES (21, 'digits-1', 1795703281.1305108, 'best_improved', '{"trial": {"number": 2, "state": "complete", "role": "search", "params": {"dropout": 0.02281570508359223}, "value": 0.3497158222292599, "best": {"train/loss": 0.39098974923488866, "val/loss": 0.3497158222292599, "gap/loss": -0.04127392700562876, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.0562136173248291, "started": 1795703280.977182, "ended": 1795703281.034401}}', 'best_improved 2');
INSERT INTO public.events VALUES (22, 'digits-1', 1795703281.1305108, 'trial_started', '{"trial": {"number": 3, "state": "running", "role": "search", "params": {"dropout": 0.5691883961031672}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703281.047329, "ended": null}}', 'trial_started 3');
INSERT INTO public.events VALUES (23, 'digits-1', 1795703281.1305108, 'epoch_ended', '{"epoch": {"trial": 3, "epoch": 1, "time": 1795703281.0861204, "metrics": {"train/loss": 0.560724021049968, "val/loss": 0.5244808334269022, "gap/loss": -0.036243187623065776, "val/accuracy": 0.6491228070175439, "gap/accuracy": -0.06140350877192979}}}', 'epoch_ended 3 1');
INSERT INTO public.events VALUES (24, 'digits-1', 1795703281.7220078, 'epoch_ended', '{"epoch": {"trial": 3, "epoch": 2, "time": 1795703281.1355367, "metrics": {"train/loss": 0.4292970214758003, "val/loss": 0.399266113902916, "gap/loss": -0.03003090757288429, "val/accuracy": 0.9122807017543859, "gap/accuracy": -0.06140350877192979}}}', 'epoch_ended 3 2');
INSERT INTO public.events VALUES (25, 'digits-1', 1795703281.7220078, 'epoch_ended', '{"epoch": {"trial": 3, "epoch": 3, "time": 1795703281.1786537, "metrics": {"train/loss": 0.38929087766691256, "val/loss": 0.36023729627853945, "gap/loss": -0.029053581388373106, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}', 'epoch_ended 3 3');
INSERT INTO public.events VALUES (26, 'digits-1', 1795703281.7220078, 'trial_ended', '{"trial": {"number": 3, "state": "complete", "role": "search", "params": {"dropout": 0.5691883961031672}, "value": 0.36023729627853945, "best": {"train/loss": 0.38929087766691256, "val/loss": 0.36023729627853945, "gap/loss": -0.029053581388373106, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.13060307502746582, "started": 1795703281.047329, "ended": 1795703281.179077}}', 'trial_ended 3');
INSERT INTO public.events VALUES (27, 'digits-1', 1795703281.7220078, 'trial_started', '{"trial": {"number": 4, "state": "running", "role": "search", "params": {"dropout": 0.4770927538473019}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703281.185575, "ended": null}}', 'trial_started 4');
INSERT INTO public.events VALUES (28, 'digits-1', 1795703281.7220078, 'epoch_ended', '{"epoch": {"trial": 4, "epoch": 1, "time": 1795703281.270598, "metrics": {"train/loss": 0.5595696798542089, "val/loss": 0.523678660784897, "gap/loss": -0.035891019069311914, "val/accuracy": 0.6578947368421053, "gap/accuracy": -0.07894736842105265}}}', 'epoch_ended 4 1');
INSERT INTO public.events VALUES (29, 'digits-1', 1795703281.7220078, 'epoch_ended', '{"epoch": {"trial": 4, "epoch": 2, "time": 1795703281.2794328, "metrics": {"train/loss": 0.42677950247991503, "val/loss": 0.39612999025797635, "gap/loss": -0.03064951222193868, "val/accuracy": 0.9035087719298246, "gap/accuracy": -0.052631578947368474}}}', 'epoch_ended 4 2');
INSERT INTO public.events VALUES (30, 'digits-1', 1795703281.7220078, 'epoch_ended', '{"epoch": {"trial": 4, "epoch": 3, "time": 1795703281.3074982, "metrics": {"train/loss": 0.38583900032793744, "val/loss": 0.35609051987136664, "gap/loss": -0.029748480456570803, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}', 'epoch_ended 4 3');
INSERT INTO public.events VALUES (31, 'digits-1', 1795703281.7220078, 'trial_ended', '{"trial": {"number": 4, "state": "complete", "role": "search", "params": {"dropout": 0.4770927538473019}, "value": 0.35609051987136664, "best": {"train/loss": 0.38583900032793744, "val/loss": 0.35609051987136664, "gap/loss": -0.029748480456570803, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.1142885684967041, "started": 1795703281.185575, "ended": 1795703281.307929}}', 'trial_ended 4');
INSERT INTO public.events VALUES (32, 'digits-1', 1795703294.45249, 'state_changed', '{"time": 1795703294.45249, "old": "running", "new": "succeeded", "cause": "5 complete", "by": "driver"}', NULL);
INSERT INTO public.events VALUES (33, 'digits-2', 1795703305.0480888, 'state_changed', '{"time": 1795703305.0480888, "old": null, "new": "queued", "cause": "submitted", "by": "ann"}', NULL);
INSERT INTO public.events VALUES (34, 'digits-2', 1795703305.06292, 'state_changed', '{"time": 1795703305.06292, "old": "queued", "new": "starting", "cause": "selected", "by": "queue"}', NULL);
INSERT INTO public.events VALUES (35, 'digits-2', 1795703314.3530083, 'state_changed', '{"time": 1795703314.3530083, "old": "starting", "new": "running", "cause": "its driver sent a heartbeat", "by": "driver"}', NULL);
INSERT INTO public.events VALUES (36, 'digits-2', 1795703383.8256147, 'trial_started', '{"trial": {"number": 0, "state": "running", "role": "baseline", "params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703383.764536, "ended": null}}', 'trial_started 0');
INSERT INTO public.events VALUES (37, 'digits-2', 1795703384.6413035, 'epoch_ended', '{"epoch": {"trial": 0, "epoch": 1, "time": 1795703384.3533845, "metrics": {"train/loss": 0.5664023536077717, "val/loss": 0.521816145040487, "gap/loss": -0.04458620856728468, "val/accuracy": 0.631578947368421, "gap/accuracy": -0.0964912280701754}}}', 'epoch_ended 0 1');
INSERT INTO public.events VALUES (38, 'digits-2', 1795703384.6413035, 'epoch_ended', '{"epoch": {"trial": 0, "epoch": 2, "time": 1795703384.4370997, "metrics": {"train/loss": 0.43705567760033565, "val/loss": 0.39339490983177694, "gap/loss": -0.043660767768558706, "val/accuracy": 0.8771929824561403, "gap/accuracy": -0.05263157894736836}}}', 'epoch_ended 0 2');
INSERT INTO public.events VALUES (39, 'digits-2', 1795703385.287915, 'epoch_ended', '{"epoch": {"trial": 0, "epoch": 3, "time": 1795703384.5555115, "metrics": {"train/loss": 0.3948310806514009, "val/loss": 0.3528375850108109, "gap/loss": -0.04199349564058996, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}', 'epoch_ended 0 3');
INSERT INTO public.events VALUES (40, 'digits-2', 1795703385.287915, 'trial_ended', '{"trial": {"number": 0, "state": "complete", "role": "baseline", "params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "value": 0.3528375850108109, "best": {"train/loss": 0.3948310806514009, "val/loss": 0.3528375850108109, "gap/loss": -0.04199349564058996, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.7901530265808105, "started": 1795703383.764536, "ended": 1795703384.556077}}', 'trial_ended 0');
INSERT INTO public.events VALUES (41, 'digits-2', 1795703385.287915, 'best_improved', '{"trial": {"number": 0, "state": "complete", "role": "baseline", "params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "value": 0.3528375850108109, "best": {"train/loss": 0.3948310806514009, "val/loss": 0.3528375850108109, "gap/loss": -0.04199349564058996, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.7901530265808105, "started": 1795703383.764536, "ended": 1795703384.556077}}', 'best_improved 0');
INSERT INTO public.events VALUES (42, 'digits-2', 1795703385.287915, 'trial_started', '{"trial": {"number": 1, "state": "running", "role": "search", "params": {"dropout": 0.10100908115482898}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703384.5594, "ended": null}}', 'trial_started 1');
INSERT INTO public.events VALUES (43, 'digits-2', 1795703385.287915, 'epoch_ended', '{"epoch": {"trial": 1, "epoch": 1, "time": 1795703384.9062634, "metrics": {"train/loss": 0.5642938632191273, "val/loss": 0.5204897673245061, "gap/loss": -0.0438040958946212, "val/accuracy": 0.6403508771929824, "gap/accuracy": -0.10526315789473684}}}', 'epoch_ended 1 1');
INSERT INTO public.events VALUES (44, 'digits-2', 1795703385.287915, 'epoch_ended', '{"epoch": {"trial": 1, "epoch": 2, "time": 1795703385.1315556, "metrics": {"train/loss": 0.4338919255523044, "val/loss": 0.39149686991514865, "gap/loss": -0.04239505563715573, "val/accuracy": 0.8859649122807017, "gap/accuracy": -0.04385964912280704}}}', 'epoch_ended 1 2');
INSERT INTO public.events VALUES (45, 'digits-2', 1795703386.0455832, 'epoch_ended', '{"epoch": {"trial": 1, "epoch": 3, "time": 1795703385.5817091, "metrics": {"train/loss": 0.3919443186911705, "val/loss": 0.35126887069067414, "gap/loss": -0.040675448000496384, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}', 'epoch_ended 1 3');
INSERT INTO public.events VALUES (46, 'digits-2', 1795703386.0455832, 'trial_ended', '{"trial": {"number": 1, "state": "complete", "role": "search", "params": {"dropout": 0.10100908115482898}, "value": 0.35126887069067414, "best": {"train/loss": 0.3919443186911705, "val/loss": 0.35126887069067414, "gap/loss": -0.040675448000496384, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 1.02162504196167, "started": 1795703384.5594, "ended": 1795703385.582357}}', 'trial_ended 1');
INSERT INTO public.events VALUES (47, 'digits-2', 1795703386.0455832, 'best_improved', '{"trial": {"number": 1, "state": "complete", "role": "search", "params": {"dropout": 0.10100908115482898}, "value": 0.35126887069067414, "best": {"train/loss": 0.3919443186911705, "val/loss": 0.35126887069067414, "gap/loss": -0.040675448000496384, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 1.02162504196167, "started": 1795703384.5594, "ended": 1795703385.582357}}', 'best_improved 1');
INSERT INTO public.events VALUES (48, 'digits-2', 1795703386.0455832, 'trial_started', '{"trial": {"number": 2, "state": "running", "role": "search", "params": {"dropout": 0.02281570508359223}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703385.649453, "ended": null}}', 'trial_started 2');
INSERT INTO public.server_keys VALUES ('sweep-tokens', '4b641420042d6b871d4f7806c36fbd2be283840b8a2b70f3688424022e358feb');
INSERT INTO public.sweeps VALUES ('digits-1', 'digits', 'ann', 'succeeded', 1795703228.94103, 1795703294.45249, 'budget:
  trials: 5
confirm: ''off''
data:
  name: breast_cancer
model:
  hidden:
  - 4
name: digits
resources:
  concurrent: 1
  executor: local
search:
  pruner: none
  sampler: random
  seed: 3
space:
  dropout:
    float:
    - 0.0
    - 0.6
trainable: trainables.models:MLP
training:
  lr: 0.01
  max_epochs: 3
', 0, '[]', NULL, NULL, NULL, NULL, '5 complete', 1, 0, 0, 1795703294.45249, 0.5347201824188232, 0, '{"running": 0, "paused": 0, "complete": 5, "pruned": 0, "failed": 0, "planned": 5, "metric": "val/loss", "baseline": {"trial": 0, "value": 0.3528375850108109, "gap/loss": -0.04199349564058996}, "best": {"trial": 2, "value": 0.3497158222292599, "gap/loss": -0.04127392700562876}}', NULL, NULL, false, '{}');
INSERT INTO public.sweeps VALUES ('digits-2', 'digits', 'ann', 'running', 1795703305.0480888, 1795703314.3530083, 'budget:
  trials: 5
confirm: ''off''
data:
  name: breast_cancer
model:
  hidden:
  - 4
name: digits
resources:
  concurrent: 1
  executor: local
search:
  pruner: none
  sampler: random
  seed: 3
space:
  dropout:
    float:
    - 0.0
    - 0.6
trainable: trainables.models:MLP
training:
  lr: 0.01
  max_epochs: 3
', 0, '[]', NULL, NULL, NULL, NULL, 'its driver sent a heartbeat', 1, 0, 0, 1795703386.0455832, 1.8117787837982178, 0, '{"running": 1, "paused": 0, "complete": 2, "pruned": 0, "failed": 0, "planned": 5, "metric": "val/loss", "baseline": {"trial": 0, "value": 0.3528375850108109, "gap/loss": -0.04199349564058996}, "best": {"trial": 1, "value": 0.35126887069067414, "gap/loss": -0.040675448000496384}}', NULL, NULL, false, '{}');
INSERT INTO public.tokens VALUES (1, 'ann', '79ee8fdbcf3b0f992590f0254251e2963f0f06ca1cb86f213cb39c92cda0520b', 1795703228.8210657, NULL, NULL);
INSERT INTO public.transitions VALUES (1, 'digits-1', 1795703228.94103, NULL, 'queued', 'submitted', 'ann');
INSERT INTO public.transitions VALUES (2, 'digits-1', 1795703228.995845, 'queued', 'starting', 'selected', 'queue');
INSERT INTO public.transitions VALUES (3, 'digits-1', 1795703236.920571, 'starting', 'running', 'its driver sent a heartbeat', 'driver');
INSERT INTO public.transitions VALUES (4, 'digits-1', 1795703294.45249, 'running', 'succeeded', '5 complete', 'driver');
INSERT INTO public.transitions VALUES (5, 'digits-2', 1795703305.0480888, NULL, 'queued', 'submitted', 'ann');
INSERT INTO public.transitions VALUES (6, 'digits-2', 1795703305.06292, 'queued', 'starting', 'selected', 'queue');
INSERT INTO public.transitions VALUES (7, 'digits-2', 1795703314.3530083, 'starting', 'running', 'its driver sent a heartbeat', 'driver');
INSERT INTO public.trials VALUES ('digits-1', 0, 'complete', 'baseline', 0.3528375850108109, 0.15593218803405762, 1795703280.889555, '{"params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "best": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": [], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO public.trials VALUES ('digits-1', 1, 'complete', 'search', 0.35126887069067414, 0.0776827335357666, 1795703280.97226, '{"params": {"dropout": 0.10100908115482898}, "best": {"epoch": 3.0, "val/loss": 0.35126887069067414, "val/accuracy": 0.9385964912280702, "train/loss": 0.3919443186911705, "train/accuracy": 0.8947368421052632, "gap/loss": -0.040675448000496384, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": ["early_stopping"], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO public.trials VALUES ('digits-1', 2, 'complete', 'search', 0.3497158222292599, 0.0562136173248291, 1795703281.034401, '{"params": {"dropout": 0.02281570508359223}, "best": {"epoch": 3.0, "val/loss": 0.3497158222292599, "val/accuracy": 0.9385964912280702, "train/loss": 0.39098974923488866, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04127392700562876, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": ["early_stopping"], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO public.trials VALUES ('digits-1', 3, 'complete', 'search', 0.36023729627853945, 0.13060307502746582, 1795703281.179077, '{"params": {"dropout": 0.5691883961031672}, "best": {"epoch": 3.0, "val/loss": 0.36023729627853945, "val/accuracy": 0.9385964912280702, "train/loss": 0.38929087766691256, "train/accuracy": 0.8947368421052632, "gap/loss": -0.029053581388373106, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": ["early_stopping"], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO public.trials VALUES ('digits-1', 4, 'complete', 'search', 0.35609051987136664, 0.1142885684967041, 1795703281.307929, '{"params": {"dropout": 0.4770927538473019}, "best": {"epoch": 3.0, "val/loss": 0.35609051987136664, "val/accuracy": 0.9385964912280702, "train/loss": 0.38583900032793744, "train/accuracy": 0.8947368421052632, "gap/loss": -0.029748480456570803, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": ["early_stopping"], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO public.trials VALUES ('digits-2', 0, 'complete', 'baseline', 0.3528375850108109, 0.7901530265808105, 1795703384.556077, '{"params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "best": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": [], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO public.trials VALUES ('digits-2', 1, 'complete', 'search', 0.35126887069067414, 1.02162504196167, 1795703385.582357, '{"params": {"dropout": 0.10100908115482898}, "best": {"epoch": 3.0, "val/loss": 0.35126887069067414, "val/accuracy": 0.9385964912280702, "train/loss": 0.3919443186911705, "train/accuracy": 0.8947368421052632, "gap/loss": -0.040675448000496384, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": ["early_stopping"], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO public.trials VALUES ('digits-2', 2, 'running', 'search', NULL, 0, NULL, '{"params": {"dropout": 0.02281570508359223}, "best": {}, "control": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": [], "folds": [], "ran_on": {}}');
INSERT INTO public.users VALUES ('ann', 'user', 1795703228.794365, NULL);
SELECT pg_catalog.setval('public.events_id_seq', 48, true);
SELECT pg_catalog.setval('public.tokens_id_seq', 1, true);
SELECT pg_catalog.setval('public.transitions_id_seq', 7, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.bundles
    ADD CONSTRAINT bundles_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT epochs_pkey PRIMARY KEY (sweep_id, trial, epoch);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.server_keys
    ADD CONSTRAINT server_keys_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.sweeps
    ADD CONSTRAINT sweeps_owner_idempotency_key_key UNIQUE (owner, idempotency_key);
ALTER TABLE ONLY public.sweeps
    ADD CONSTRAINT sweeps_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_digest_key UNIQUE (digest);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.transitions
    ADD CONSTRAINT transitions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT trials_pkey PRIMARY KEY (sweep_id, number);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT uq_events_sweep_key UNIQUE (sweep_id, key);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (url);
CREATE INDEX ix_events_sweep ON public.events USING btree (sweep_id, id);
CREATE INDEX ix_sweeps_created ON public.sweeps USING btree (created, id);
CREATE INDEX ix_sweeps_owner_created ON public.sweeps USING btree (owner, created);
CREATE INDEX ix_sweeps_state_created ON public.sweeps USING btree (state, created);
CREATE INDEX ix_tokens_user ON public.tokens USING btree ("user");
CREATE INDEX ix_transitions_sweep_id ON public.transitions USING btree (sweep_id);
ALTER TABLE ONLY public.bundles
    ADD CONSTRAINT bundles_owner_fkey FOREIGN KEY (owner) REFERENCES public.users(name);
ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT epochs_sweep_id_fkey FOREIGN KEY (sweep_id) REFERENCES public.sweeps(id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_sweep_id_fkey FOREIGN KEY (sweep_id) REFERENCES public.sweeps(id);
ALTER TABLE ONLY public.sweeps
    ADD CONSTRAINT sweeps_bundle_fkey FOREIGN KEY (bundle) REFERENCES public.bundles(digest);
ALTER TABLE ONLY public.sweeps
    ADD CONSTRAINT sweeps_owner_fkey FOREIGN KEY (owner) REFERENCES public.users(name);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_user_fkey FOREIGN KEY ("user") REFERENCES public.users(name);
ALTER TABLE ONLY public.transitions
    ADD CONSTRAINT transitions_sweep_id_fkey FOREIGN KEY (sweep_id) REFERENCES public.sweeps(id);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT trials_sweep_id_fkey FOREIGN KEY (sweep_id) REFERENCES public.sweeps(id);
