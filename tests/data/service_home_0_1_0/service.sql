BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0007');
CREATE TABLE bundles (
	digest VARCHAR(64) NOT NULL, 
	owner VARCHAR(64) NOT NULL, 
	created DOUBLE NOT NULL, 
	size INTEGER NOT NULL, 
	modules JSON NOT NULL, 
	PRIMARY KEY (digest), 
	FOREIGN KEY(owner) REFERENCES users (name)
);
CREATE TABLE epochs (
	sweep_id VARCHAR(96) NOT NULL, 
	trial INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	time DOUBLE NOT NULL, 
	metrics JSON NOT NULL, 
	PRIMARY KEY (sweep_id, trial, epoch), 
	FOREIGN KEY(sweep_id) REFERENCES sweeps (id)
);
INSERT INTO "epochs" VALUES('digits-1',0,1,1.79570328085428619385e+09,'{"val/loss": 0.521816145040487, "val/accuracy": 0.631578947368421, "train/loss": 0.5664023536077717, "train/accuracy": 0.5350877192982456, "gap/loss": -0.04458620856728468, "gap/accuracy": -0.0964912280701754, "train_running/loss": 0.6158040513740607, "sparsity": 0.0, "weight_norm": 1.5364397764205933, "lr": 0.01}');
INSERT INTO "epochs" VALUES('digits-1',0,2,1.79570328086051106452e+09,'{"val/loss": 0.39339490983177694, "val/accuracy": 0.8771929824561403, "train/loss": 0.43705567760033565, "train/accuracy": 0.8245614035087719, "gap/loss": -0.043660767768558706, "gap/accuracy": -0.05263157894736836, "train_running/loss": 0.47330454717283726, "sparsity": 0.0, "weight_norm": 1.756478190422058, "lr": 0.0075}');
INSERT INTO "epochs" VALUES('digits-1',0,3,1.79570328088896870614e+09,'{"val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.3796021581744868, "sparsity": 0.0, "weight_norm": 1.8349109888076782, "lr": 0.0025000000000000014}');
INSERT INTO "epochs" VALUES('digits-1',1,1,1.79570328094017791749e+09,'{"val/loss": 0.5204897673245061, "val/accuracy": 0.6403508771929824, "train/loss": 0.5642938632191273, "train/accuracy": 0.5350877192982456, "gap/loss": -0.0438040958946212, "gap/accuracy": -0.10526315789473684, "train_running/loss": 0.6128836265407349, "sparsity": 0.0, "weight_norm": 1.5352249145507812, "lr": 0.01}');
INSERT INTO "epochs" VALUES('digits-1',1,2,1.7957032809607508183e+09,'{"val/loss": 0.39149686991514865, "val/accuracy": 0.8859649122807017, "train/loss": 0.4338919255523044, "train/accuracy": 0.8421052631578947, "gap/loss": -0.04239505563715573, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.47661006625446756, "sparsity": 0.0, "weight_norm": 1.7492159605026245, "lr": 0.0075}');
INSERT INTO "epochs" VALUES('digits-1',1,3,1.79570328097183370594e+09,'{"val/loss": 0.35126887069067414, "val/accuracy": 0.9385964912280702, "train/loss": 0.3919443186911705, "train/accuracy": 0.8947368421052632, "gap/loss": -0.040675448000496384, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.38658907266655973, "sparsity": 0.0, "weight_norm": 1.8257482051849365, "lr": 0.0025000000000000014}');
INSERT INTO "epochs" VALUES('digits-1',2,1,1.79570328099354910855e+09,'{"val/loss": 0.5196787918868818, "val/accuracy": 0.6403508771929824, "train/loss": 0.5639739945008043, "train/accuracy": 0.5350877192982456, "gap/loss": -0.0442952026139225, "gap/accuracy": -0.10526315789473684, "train_running/loss": 0.6151820655442403, "sparsity": 0.0, "weight_norm": 1.5355608463287354, "lr": 0.01}');
INSERT INTO "epochs" VALUES('digits-1',2,2,1.79570328100902152062e+09,'{"val/loss": 0.39032777529536633, "val/accuracy": 0.8771929824561403, "train/loss": 0.4332643718082915, "train/accuracy": 0.8333333333333334, "gap/loss": -0.042936596512925196, "gap/accuracy": -0.04385964912280693, "train_running/loss": 0.4718718766466963, "sparsity": 0.0, "weight_norm": 1.7553250789642334, "lr": 0.0075}');
INSERT INTO "epochs" VALUES('digits-1',2,3,1.79570328103397202496e+09,'{"val/loss": 0.3497158222292599, "val/accuracy": 0.9385964912280702, "train/loss": 0.39098974923488866, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04127392700562876, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.37824846642457843, "sparsity": 0.0, "weight_norm": 1.833880066871643, "lr": 0.0025000000000000014}');
INSERT INTO "epochs" VALUES('digits-1',3,1,1.79570328108612036702e+09,'{"val/loss": 0.5244808334269022, "val/accuracy": 0.6491228070175439, "train/loss": 0.560724021049968, "train/accuracy": 0.5877192982456141, "gap/loss": -0.036243187623065776, "gap/accuracy": -0.06140350877192979, "train_running/loss": 0.6206213539996105, "sparsity": 0.0, "weight_norm": 1.521618366241455, "lr": 0.01}');
INSERT INTO "epochs" VALUES('digits-1',3,2,1.79570328113553667062e+09,'{"val/loss": 0.399266113902916, "val/accuracy": 0.9122807017543859, "train/loss": 0.4292970214758003, "train/accuracy": 0.8508771929824561, "gap/loss": -0.03003090757288429, "gap/accuracy": -0.06140350877192979, "train_running/loss": 0.5050625619300999, "sparsity": 0.0, "weight_norm": 1.7095319032669067, "lr": 0.0075}');
INSERT INTO "epochs" VALUES('digits-1',3,3,1.79570328117865371702e+09,'{"val/loss": 0.36023729627853945, "val/accuracy": 0.9385964912280702, "train/loss": 0.38929087766691256, "train/accuracy": 0.8947368421052632, "gap/loss": -0.029053581388373106, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.4359181423690662, "sparsity": 0.0, "weight_norm": 1.7741879224777222, "lr": 0.0025000000000000014}');
INSERT INTO "epochs" VALUES('digits-1',4,1,1.79570328127059793471e+09,'{"val/loss": 0.523678660784897, "val/accuracy": 0.6578947368421053, "train/loss": 0.5595696798542089, "train/accuracy": 0.5789473684210527, "gap/loss": -0.035891019069311914, "gap/accuracy": -0.07894736842105265, "train_running/loss": 0.6194362248843017, "sparsity": 0.0, "weight_norm": 1.518103003501892, "lr": 0.01}');
INSERT INTO "epochs" VALUES('digits-1',4,2,1.79570328127943277356e+09,'{"val/loss": 0.39612999025797635, "val/accuracy": 0.9035087719298246, "train/loss": 0.42677950247991503, "train/accuracy": 0.8508771929824561, "gap/loss": -0.03064951222193868, "gap/accuracy": -0.052631578947368474, "train_running/loss": 0.500914542905746, "sparsity": 0.0, "weight_norm": 1.7128764390945435, "lr": 0.0075}');
INSERT INTO "epochs" VALUES('digits-1',4,3,1.79570328130749821667e+09,'{"val/loss": 0.35609051987136664, "val/accuracy": 0.9385964912280702, "train/loss": 0.38583900032793744, "train/accuracy": 0.8947368421052632, "gap/loss": -0.029748480456570803, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.4249838999639159, "sparsity": 0.0, "weight_norm": 1.784842610359192, "lr": 0.0025000000000000014}');
INSERT INTO "epochs" VALUES('digits-2',0,1,1.79570338435338449473e+09,'{"val/loss": 0.521816145040487, "val/accuracy": 0.631578947368421, "train/loss": 0.5664023536077717, "train/accuracy": 0.5350877192982456, "gap/loss": -0.04458620856728468, "gap/accuracy": -0.0964912280701754, "train_running/loss": 0.6158040513740607, "sparsity": 0.0, "weight_norm": 1.5364397764205933, "lr": 0.01}');
INSERT INTO "epochs" VALUES('digits-2',0,2,1.79570338443709969517e+09,'{"val/loss": 0.39339490983177694, "val/accuracy": 0.8771929824561403, "train/loss": 0.43705567760033565, "train/accuracy": 0.8245614035087719, "gap/loss": -0.043660767768558706, "gap/accuracy": -0.05263157894736836, "train_running/loss": 0.47330454717283726, "sparsity": 0.0, "weight_norm": 1.756478190422058, "lr": 0.0075}');
INSERT INTO "epochs" VALUES('digits-2',0,3,1.7957033845555114746e+09,'{"val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.3796021581744868, "sparsity": 0.0, "weight_norm": 1.8349109888076782, "lr": 0.0025000000000000014}');
INSERT INTO "epochs" VALUES('digits-2',1,1,1.79570338490626335145e+09,'{"val/loss": 0.5204897673245061, "val/accuracy": 0.6403508771929824, "train/loss": 0.5642938632191273, "train/accuracy": 0.5350877192982456, "gap/loss": -0.0438040958946212, "gap/accuracy": -0.10526315789473684, "train_running/loss": 0.6128836265407349, "sparsity": 0.0, "weight_norm": 1.5352249145507812, "lr": 0.01}');
INSERT INTO "epochs" VALUES('digits-2',1,2,1.79570338513155555726e+09,'{"val/loss": 0.39149686991514865, "val/accuracy": 0.8859649122807017, "train/loss": 0.4338919255523044, "train/accuracy": 0.8421052631578947, "gap/loss": -0.04239505563715573, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.47661006625446756, "sparsity": 0.0, "weight_norm": 1.7492159605026245, "lr": 0.0075}');
INSERT INTO "epochs" VALUES('digits-2',1,3,1.79570338558170914649e+09,'{"val/loss": 0.35126887069067414, "val/accuracy": 0.9385964912280702, "train/loss": 0.3919443186911705, "train/accuracy": 0.8947368421052632, "gap/loss": -0.040675448000496384, "gap/accuracy": -0.04385964912280704, "train_running/loss": 0.38658907266655973, "sparsity": 0.0, "weight_norm": 1.8257482051849365, "lr": 0.0025000000000000014}');
CREATE TABLE "events" (
	id INTEGER NOT NULL, 
	sweep_id VARCHAR(96) NOT NULL, 
	time DOUBLE NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	data JSON NOT NULL, 
	"key" VARCHAR(64), 
	PRIMARY KEY (id), 
	CONSTRAINT uq_events_sweep_key UNIQUE (sweep_id, "key"), 
	FOREIGN KEY(sweep_id) REFERENCES sweeps (id)
);
INSERT INTO "events" VALUES(1,'digits-1',1795703228.94103,'state_changed','{"time": 1795703228.94103, "old": null, "new": "queued", "cause": "submitted", "by": "ann"}',NULL);
INSERT INTO "events" VALUES(2,'digits-1',1.79570322899584507939e+09,'state_changed','{"time": 1795703228.995845, "old": "queued", "new": "starting", "cause": "selected", "by": "queue"}',NULL);
INSERT INTO "events" VALUES(3,'digits-1',1.79570323692057108883e+09,'state_changed','{"time": 1795703236.920571, "old": "starting", "new": "running", "cause": "its driver sent a heartbeat", "by": "driver"}',NULL);
INSERT INTO "events" VALUES(4,'digits-1',1.79570328113051080705e+09,'trial_started','{"trial": {"number": 0, "state": "running", "role": "baseline", "params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703280.732415, "ended": null}}','trial_started 0');
INSERT INTO "events" VALUES(5,'digits-1',1.79570328113051080705e+09,'epoch_ended','{"epoch": {"trial": 0, "epoch": 1, "time": 1795703280.8542862, "metrics": {"train/loss": 0.5664023536077717, "val/loss": 0.521816145040487, "gap/loss": -0.04458620856728468, "val/accuracy": 0.631578947368421, "gap/accuracy": -0.0964912280701754}}}','epoch_ended 0 1');
INSERT INTO "events" VALUES(6,'digits-1',1.79570328113051080705e+09,'epoch_ended','{"epoch": {"trial": 0, "epoch": 2, "time": 1795703280.860511, "metrics": {"train/loss": 0.43705567760033565, "val/loss": 0.39339490983177694, "gap/loss": -0.043660767768558706, "val/accuracy": 0.8771929824561403, "gap/accuracy": -0.05263157894736836}}}','epoch_ended 0 2');
INSERT INTO "events" VALUES(7,'digits-1',1.79570328113051080705e+09,'epoch_ended','{"epoch": {"trial": 0, "epoch": 3, "time": 1795703280.8889687, "metrics": {"train/loss": 0.3948310806514009, "val/loss": 0.3528375850108109, "gap/loss": -0.04199349564058996, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}','epoch_ended 0 3');
INSERT INTO "events" VALUES(8,'digits-1',1.79570328113051080705e+09,'trial_ended','{"trial": {"number": 0, "state": "complete", "role": "baseline", "params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "value": 0.3528375850108109, "best": {"train/loss": 0.3948310806514009, "val/loss": 0.3528375850108109, "gap/loss": -0.04199349564058996, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.15593218803405762, "started": 1795703280.732415, "ended": 1795703280.889555}}','trial_ended 0');
INSERT INTO "events" VALUES(9,'digits-1',1.79570328113051080705e+09,'best_improved','{"trial": {"number": 0, "state": "complete", "role": "baseline", "params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "value": 0.3528375850108109, "best": {"train/loss": 0.3948310806514009, "val/loss": 0.3528375850108109, "gap/loss": -0.04199349564058996, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.15593218803405762, "started": 1795703280.732415, "ended": 1795703280.889555}}','best_improved 0');
INSERT INTO "events" VALUES(10,'digits-1',1.79570328113051080705e+09,'trial_started','{"trial": {"number": 1, "state": "running", "role": "search", "params": {"dropout": 0.10100908115482898}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703280.893514, "ended": null}}','trial_started 1');
INSERT INTO "events" VALUES(11,'digits-1',1.79570328113051080705e+09,'epoch_ended','{"epoch": {"trial": 1, "epoch": 1, "time": 1795703280.940178, "metrics": {"train/loss": 0.5642938632191273, "val/loss": 0.5204897673245061, "gap/loss": -0.0438040958946212, "val/accuracy": 0.6403508771929824, "gap/accuracy": -0.10526315789473684}}}','epoch_ended 1 1');
INSERT INTO "events" VALUES(12,'digits-1',1.79570328113051080705e+09,'epoch_ended','{"epoch": {"trial": 1, "epoch": 2, "time": 1795703280.9607508, "metrics": {"train/loss": 0.4338919255523044, "val/loss": 0.39149686991514865, "gap/loss": -0.04239505563715573, "val/accuracy": 0.8859649122807017, "gap/accuracy": -0.04385964912280704}}}','epoch_ended 1 2');
INSERT INTO "events" VALUES(13,'digits-1',1.79570328113051080705e+09,'epoch_ended','{"epoch": {"trial": 1, "epoch": 3, "time": 1795703280.9718337, "metrics": {"train/loss": 0.3919443186911705, "val/loss": 0.35126887069067414, "gap/loss": -0.040675448000496384, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}','epoch_ended 1 3');
INSERT INTO "events" VALUES(14,'digits-1',1.79570328113051080705e+09,'trial_ended','{"trial": {"number": 1, "state": "complete", "role": "search", "params": {"dropout": 0.10100908115482898}, "value": 0.35126887069067414, "best": {"train/loss": 0.3919443186911705, "val/loss": 0.35126887069067414, "gap/loss": -0.040675448000496384, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.0776827335357666, "started": 1795703280.893514, "ended": 1795703280.97226}}','trial_ended 1');
INSERT INTO "events" VALUES(15,'digits-1',1.79570328113051080705e+09,'best_improved','{"trial": {"number": 1, "state": "complete", "role": "search", "params": {"dropout": 0.10100908115482898}, "value": 0.35126887069067414, "best": {"train/loss": 0.3919443186911705, "val/loss": 0.35126887069067414, "gap/loss": -0.040675448000496384, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.0776827335357666, "started": 1795703280.893514, "ended": 1795703280.97226}}','best_improved 1');
INSERT INTO "events" VALUES(16,'digits-1',1.79570328113051080705e+09,'trial_started','{"trial": {"number": 2, "state": "running", "role": "search", "params": {"dropout": 0.02281570508359223}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703280.977182, "ended": null}}','trial_started 2');
INSERT INTO "events" VALUES(17,'digits-1',1.79570328113051080705e+09,'epoch_ended','{"epoch": {"trial": 2, "epoch": 1, "time": 1795703280.993549, "metrics": {"train/loss": 0.5639739945008043, "val/loss": 0.5196787918868818, "gap/loss": -0.0442952026139225, "val/accuracy": 0.6403508771929824, "gap/accuracy": -0.10526315789473684}}}','epoch_ended 2 1');
INSERT INTO "events" VALUES(18,'digits-1',1.79570328113051080705e+09,'epoch_ended','{"epoch": {"trial": 2, "epoch": 2, "time": 1795703281.0090215, "metrics": {"train/loss": 0.4332643718082915, "val/loss": 0.39032777529536633, "gap/loss": -0.042936596512925196, "val/accuracy": 0.8771929824561403, "gap/accuracy": -0.04385964912280693}}}','epoch_ended 2 2');
INSERT INTO "events" VALUES(19,'digits-1',1.79570328113051080705e+09,'epoch_ended','{"epoch": {"trial": 2, "epoch": 3, "time": 1795703281.033972, "metrics": {"train/loss": 0.39098974923488866, "val/loss": 0.3497158222292599, "gap/loss": -0.04127392700562876, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}','epoch_ended 2 3');
INSERT INTO "events" VALUES(20,'digits-1',1.79570328113051080705e+09,'trial_ended','{"trial": {"number": 2, "state": "complete", "role": "search", "params": {"dropout": 0.02281570508359223}, "value": 0.3497158222292599, "best": {"train/loss": 0.39098974923488866, "val/loss": 0.3497158222292599, "gap/loss": -0.04127392700562876, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.0562136173248291, "started": 1795703280.977182, "ended": 1795703281.034401}}','trial_ended 2');
INSERT INTO "events" VALUES(21,'digits-1',1.79570328113051080705e+09,'best_improved','{"trial": {"number": 2, "state": "complete", "role": "search", "params": {"dropout": 0.02281570508359223}, "value": 0.3497158222292599, "best": {"train/loss": 0.39098974923488866, "val/loss": 0.3497158222292599, "gap/loss": -0.04127392700562876, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.0562136173248291, "started": 1795703280.977182, "ended": 1795703281.034401}}','best_improved 2');
INSERT INTO "events" VALUES(22,'digits-1',1.79570328113051080705e+09,'trial_started','{"trial": {"number": 3, "state": "running", "role": "search", "params": {"dropout": 0.5691883961031672}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703281.047329, "ended": null}}','trial_started 3');
INSERT INTO "events" VALUES(23,'digits-1',1.79570328113051080705e+09,'epoch_ended','{"epoch": {"trial": 3, "epoch": 1, "time": 1795703281.0861204, "metrics": {"train/loss": 0.560724021049968, "val/loss": 0.5244808334269022, "gap/loss": -0.036243187623065776, "val/accuracy": 0.6491228070175439, "gap/accuracy": -0.06140350877192979}}}','epoch_ended 3 1');
INSERT INTO "events" VALUES(24,'digits-1',1.79570328172200775144e+09,'epoch_ended','{"epoch": {"trial": 3, "epoch": 2, "time": 1795703281.1355367, "metrics": {"train/loss": 0.4292970214758003, "val/loss": 0.399266113902916, "gap/loss": -0.03003090757288429, "val/accuracy": 0.9122807017543859, "gap/accuracy": -0.06140350877192979}}}','epoch_ended 3 2');
INSERT INTO "events" VALUES(25,'digits-1',1.79570328172200775144e+09,'epoch_ended','{"epoch": {"trial": 3, "epoch": 3, "time": 1795703281.1786537, "metrics": {"train/loss": 0.38929087766691256, "val/loss": 0.36023729627853945, "gap/loss": -0.029053581388373106, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}','epoch_ended 3 3');
INSERT INTO "events" VALUES(26,'digits-1',1.79570328172200775144e+09,'trial_ended','{"trial": {"number": 3, "state": "complete", "role": "search", "params": {"dropout": 0.5691883961031672}, "value": 0.36023729627853945, "best": {"train/loss": 0.38929087766691256, "val/loss": 0.36023729627853945, "gap/loss": -0.029053581388373106, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.13060307502746582, "started": 1795703281.047329, "ended": 1795703281.179077}}','trial_ended 3');
INSERT INTO "events" VALUES(27,'digits-1',1.79570328172200775144e+09,'trial_started','{"trial": {"number": 4, "state": "running", "role": "search", "params": {"dropout": 0.4770927538473019}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703281.185575, "ended": null}}','trial_started 4');
INSERT INTO "events" VALUES(28,'digits-1',1.79570328172200775144e+09,'epoch_ended','{"epoch": {"trial": 4, "epoch": 1, "time": 1795703281.270598, "metrics": {"train/loss": 0.5595696798542089, "val/loss": 0.523678660784897, "gap/loss": -0.035891019069311914, "val/accuracy": 0.6578947368421053, "gap/accuracy": -0.07894736842105265}}}','epoch_ended 4 1');
INSERT INTO "events" VALUES(29,'digits-1',1.79570328172200775144e+09,'epoch_ended','{"epoch": {"trial": 4, "epoch": 2, "time": 1795703281.2794328, "metrics": {"train/loss": 0.42677950247991503, "val/loss": 0.39612999025797635, "gap/loss": -0.03064951222193868, "val/accuracy": 0.9035087719298246, "gap/accuracy": -0.052631578947368474}}}','epoch_ended 4 2');
INSERT INTO "events" VALUES(30,'digits-1',1.79570328172200775144e+09,'epoch_ended','{"epoch": {"trial": 4, "epoch": 3, "time": 1795703281.3074982, "metrics": {"train/loss": 0.38583900032793744, "val/loss": 0.35609051987136664, "gap/loss": -0.029748480456570803, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}','epoch_ended 4 3');
INSERT INTO "events" VALUES(31,'digits-1',1.79570328172200775144e+09,'trial_ended','{"trial": {"number": 4, "state": "complete", "role": "search", "params": {"dropout": 0.4770927538473019}, "value": 0.35609051987136664, "best": {"train/loss": 0.38583900032793744, "val/loss": 0.35609051987136664, "gap/loss": -0.029748480456570803, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.1142885684967041, "started": 1795703281.185575, "ended": 1795703281.307929}}','trial_ended 4');
INSERT INTO "events" VALUES(32,'digits-1',1795703294.45249,'state_changed','{"time": 1795703294.45249, "old": "running", "new": "succeeded", "cause": "5 complete", "by": "driver"}',NULL);
INSERT INTO "events" VALUES(33,'digits-2',1.79570330504808878899e+09,'state_changed','{"time": 1795703305.0480888, "old": null, "new": "queued", "cause": "submitted", "by": "ann"}',NULL);
INSERT INTO "events" VALUES(34,'digits-2',1795703305.06292,'state_changed','{"time": 1795703305.06292, "old": "queued", "new": "starting", "cause": "selected", "by": "queue"}',NULL);
INSERT INTO "events" VALUES(35,'digits-2',1.79570331435300827027e+09,'state_changed','{"time": 1795703314.3530083, "old": "starting", "new": "running", "cause": "its driver sent a heartbeat", "by": "driver"}',NULL);
INSERT INTO "events" VALUES(36,'digits-2',1.79570338382561469074e+09,'trial_started','{"trial": {"number": 0, "state": "running", "role": "baseline", "params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703383.764536, "ended": null}}','trial_started 0');
INSERT INTO "events" VALUES(37,'digits-2',1.79570338464130353924e+09,'epoch_ended','{"epoch": {"trial": 0, "epoch": 1, "time": 1795703384.3533845, "metrics": {"train/loss": 0.5664023536077717, "val/loss": 0.521816145040487, "gap/loss": -0.04458620856728468, "val/accuracy": 0.631578947368421, "gap/accuracy": -0.0964912280701754}}}','epoch_ended 0 1');
INSERT INTO "events" VALUES(38,'digits-2',1.79570338464130353924e+09,'epoch_ended','{"epoch": {"trial": 0, "epoch": 2, "time": 1795703384.4370997, "metrics": {"train/loss": 0.43705567760033565, "val/loss": 0.39339490983177694, "gap/loss": -0.043660767768558706, "val/accuracy": 0.8771929824561403, "gap/accuracy": -0.05263157894736836}}}','epoch_ended 0 2');
INSERT INTO "events" VALUES(39,'digits-2',1.79570338528791499134e+09,'epoch_ended','{"epoch": {"trial": 0, "epoch": 3, "time": 1795703384.5555115, "metrics": {"train/loss": 0.3948310806514009, "val/loss": 0.3528375850108109, "gap/loss": -0.04199349564058996, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}','epoch_ended 0 3');
INSERT INTO "events" VALUES(40,'digits-2',1.79570338528791499134e+09,'trial_ended','{"trial": {"number": 0, "state": "complete", "role": "baseline", "params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "value": 0.3528375850108109, "best": {"train/loss": 0.3948310806514009, "val/loss": 0.3528375850108109, "gap/loss": -0.04199349564058996, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.7901530265808105, "started": 1795703383.764536, "ended": 1795703384.556077}}','trial_ended 0');
INSERT INTO "events" VALUES(41,'digits-2',1.79570338528791499134e+09,'best_improved','{"trial": {"number": 0, "state": "complete", "role": "baseline", "params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "value": 0.3528375850108109, "best": {"train/loss": 0.3948310806514009, "val/loss": 0.3528375850108109, "gap/loss": -0.04199349564058996, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 0.7901530265808105, "started": 1795703383.764536, "ended": 1795703384.556077}}','best_improved 0');
INSERT INTO "events" VALUES(42,'digits-2',1.79570338528791499134e+09,'trial_started','{"trial": {"number": 1, "state": "running", "role": "search", "params": {"dropout": 0.10100908115482898}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703384.5594, "ended": null}}','trial_started 1');
INSERT INTO "events" VALUES(43,'digits-2',1.79570338528791499134e+09,'epoch_ended','{"epoch": {"trial": 1, "epoch": 1, "time": 1795703384.9062634, "metrics": {"train/loss": 0.5642938632191273, "val/loss": 0.5204897673245061, "gap/loss": -0.0438040958946212, "val/accuracy": 0.6403508771929824, "gap/accuracy": -0.10526315789473684}}}','epoch_ended 1 1');
INSERT INTO "events" VALUES(44,'digits-2',1.79570338528791499134e+09,'epoch_ended','{"epoch": {"trial": 1, "epoch": 2, "time": 1795703385.1315556, "metrics": {"train/loss": 0.4338919255523044, "val/loss": 0.39149686991514865, "gap/loss": -0.04239505563715573, "val/accuracy": 0.8859649122807017, "gap/accuracy": -0.04385964912280704}}}','epoch_ended 1 2');
INSERT INTO "events" VALUES(45,'digits-2',1.79570338604558324812e+09,'epoch_ended','{"epoch": {"trial": 1, "epoch": 3, "time": 1795703385.5817091, "metrics": {"train/loss": 0.3919443186911705, "val/loss": 0.35126887069067414, "gap/loss": -0.040675448000496384, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}}}','epoch_ended 1 3');
INSERT INTO "events" VALUES(46,'digits-2',1.79570338604558324812e+09,'trial_ended','{"trial": {"number": 1, "state": "complete", "role": "search", "params": {"dropout": 0.10100908115482898}, "value": 0.35126887069067414, "best": {"train/loss": 0.3919443186911705, "val/loss": 0.35126887069067414, "gap/loss": -0.040675448000496384, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 1.02162504196167, "started": 1795703384.5594, "ended": 1795703385.582357}}','trial_ended 1');
INSERT INTO "events" VALUES(47,'digits-2',1.79570338604558324812e+09,'best_improved','{"trial": {"number": 1, "state": "complete", "role": "search", "params": {"dropout": 0.10100908115482898}, "value": 0.35126887069067414, "best": {"train/loss": 0.3919443186911705, "val/loss": 0.35126887069067414, "gap/loss": -0.040675448000496384, "val/accuracy": 0.9385964912280702, "gap/accuracy": -0.04385964912280704}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": ["early_stopping"], "folds": [], "errors": {}, "ran_on": {"device": "CPU", "precision": "fp32"}, "seconds": 1.02162504196167, "started": 1795703384.5594, "ended": 1795703385.582357}}','best_improved 1');
INSERT INTO "events" VALUES(48,'digits-2',1.79570338604558324812e+09,'trial_started','{"trial": {"number": 2, "state": "running", "role": "search", "params": {"dropout": 0.02281570508359223}, "value": null, "best": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "control": {}, "not_acting": [], "folds": [], "errors": {}, "ran_on": {}, "seconds": 0.0, "started": 1795703385.649453, "ended": null}}','trial_started 2');
CREATE TABLE leases (
	name VARCHAR(32) NOT NULL, 
	holder VARCHAR(64) NOT NULL, 
	until DOUBLE NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE server_keys (
	name VARCHAR(32) NOT NULL, 
	value VARCHAR(64) NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "server_keys" VALUES('sweep-tokens','4b641420042d6b871d4f7806c36fbd2be283840b8a2b70f3688424022e358feb');
CREATE TABLE sweeps (
	id VARCHAR(96) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	owner VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	created DOUBLE NOT NULL, 
	changed DOUBLE NOT NULL, 
	spec TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	"after" JSON NOT NULL, 
	bundle VARCHAR(64), 
	idempotency_key VARCHAR(128), 
	requested_action VARCHAR(16), 
	requested_by VARCHAR(64), 
	cause TEXT, 
	attempt INTEGER NOT NULL, 
	failures INTEGER NOT NULL, 
	more_trials INTEGER NOT NULL, 
	last_heartbeat DOUBLE, 
	slot_seconds DOUBLE NOT NULL, 
	gpu_hours DOUBLE NOT NULL, 
	progress JSON NOT NULL, slots INTEGER, launched DOUBLE, accept_changes BOOLEAN DEFAULT 0 NOT NULL, wider JSON DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(bundle) REFERENCES bundles (digest), 
	FOREIGN KEY(owner) REFERENCES users (name), 
	UNIQUE (owner, idempotency_key)
);
INSERT INTO "sweeps" VALUES('digits-1','digits','ann','succeeded',1795703228.94103,1795703294.45249,'budget:
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
',0,'[]',NULL,NULL,NULL,NULL,'5 complete',1,0,0,1795703294.45249,5.34720182418823242187e-01,0.0,'{"running": 0, "paused": 0, "complete": 5, "pruned": 0, "failed": 0, "planned": 5, "metric": "val/loss", "baseline": {"trial": 0, "value": 0.3528375850108109, "gap/loss": -0.04199349564058996}, "best": {"trial": 2, "value": 0.3497158222292599, "gap/loss": -0.04127392700562876}}',NULL,NULL,0,'{}');
INSERT INTO "sweeps" VALUES('digits-2','digits','ann','running',1.79570330504808878899e+09,1.79570331435300827027e+09,'budget:
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
',0,'[]',NULL,NULL,NULL,NULL,'its driver sent a heartbeat',1,0,0,1.79570338604558324812e+09,1.81177878379821777343e+00,0.0,'{"running": 1, "paused": 0, "complete": 2, "pruned": 0, "failed": 0, "planned": 5, "metric": "val/loss", "baseline": {"trial": 0, "value": 0.3528375850108109, "gap/loss": -0.04199349564058996}, "best": {"trial": 1, "value": 0.35126887069067414, "gap/loss": -0.040675448000496384}}',NULL,NULL,0,'{}');
CREATE TABLE tokens (
	id INTEGER NOT NULL, 
	user VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	created DOUBLE NOT NULL, 
	expires DOUBLE, 
	revoked DOUBLE, 
	PRIMARY KEY (id), 
	FOREIGN KEY(user) REFERENCES users (name), 
	UNIQUE (digest)
);
INSERT INTO "tokens" VALUES(1,'ann','79ee8fdbcf3b0f992590f0254251e2963f0f06ca1cb86f213cb39c92cda0520b',1.79570322882106566428e+09,NULL,NULL);
CREATE TABLE transitions (
	id INTEGER NOT NULL, 
	sweep_id VARCHAR(96) NOT NULL, 
	time DOUBLE NOT NULL, 
	old VARCHAR(16), 
	new VARCHAR(16) NOT NULL, 
	cause TEXT NOT NULL, 
	"by" VARCHAR(64) NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(sweep_id) REFERENCES sweeps (id)
);
INSERT INTO "transitions" VALUES(1,'digits-1',1795703228.94103,NULL,'queued','submitted','ann');
INSERT INTO "transitions" VALUES(2,'digits-1',1.79570322899584507939e+09,'queued','starting','selected','queue');
INSERT INTO "transitions" VALUES(3,'digits-1',1.79570323692057108883e+09,'starting','running','its driver sent a heartbeat','driver');
INSERT INTO "transitions" VALUES(4,'digits-1',1795703294.45249,'running','succeeded','5 complete','driver');
INSERT INTO "transitions" VALUES(5,'digits-2',1.79570330504808878899e+09,NULL,'queued','submitted','ann');
INSERT INTO "transitions" VALUES(6,'digits-2',1795703305.06292,'queued','starting','selected','queue');
INSERT INTO "transitions" VALUES(7,'digits-2',1.79570331435300827027e+09,'starting','running','its driver sent a heartbeat','driver');
CREATE TABLE trials (
	sweep_id VARCHAR(96) NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	value DOUBLE, 
	seconds DOUBLE NOT NULL, 
	ended DOUBLE, 
	facts JSON NOT NULL, 
	PRIMARY KEY (sweep_id, number), 
	FOREIGN KEY(sweep_id) REFERENCES sweeps (id)
);
INSERT INTO "trials" VALUES('digits-1',0,'complete','baseline',3.52837585010810916852e-01,1.55932188034057617187e-01,1.79570328088955497741e+09,'{"params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "best": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": [], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO "trials" VALUES('digits-1',1,'complete','search',3.51268870690674139822e-01,0.0776827335357666,1795703280.97226,'{"params": {"dropout": 0.10100908115482898}, "best": {"epoch": 3.0, "val/loss": 0.35126887069067414, "val/accuracy": 0.9385964912280702, "train/loss": 0.3919443186911705, "train/accuracy": 0.8947368421052632, "gap/loss": -0.040675448000496384, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": ["early_stopping"], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO "trials" VALUES('digits-1',2,'complete','search',3.49715822229259898357e-01,0.0562136173248291,1.79570328103440093989e+09,'{"params": {"dropout": 0.02281570508359223}, "best": {"epoch": 3.0, "val/loss": 0.3497158222292599, "val/accuracy": 0.9385964912280702, "train/loss": 0.39098974923488866, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04127392700562876, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": ["early_stopping"], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO "trials" VALUES('digits-1',3,'complete','search',3.60237296278539453897e-01,1.30603075027465820312e-01,1.79570328117907691001e+09,'{"params": {"dropout": 0.5691883961031672}, "best": {"epoch": 3.0, "val/loss": 0.36023729627853945, "val/accuracy": 0.9385964912280702, "train/loss": 0.38929087766691256, "train/accuracy": 0.8947368421052632, "gap/loss": -0.029053581388373106, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": ["early_stopping"], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO "trials" VALUES('digits-1',4,'complete','search',3.56090519871366639748e-01,1.14288568496704101562e-01,1.79570328130792903906e+09,'{"params": {"dropout": 0.4770927538473019}, "best": {"epoch": 3.0, "val/loss": 0.35609051987136664, "val/accuracy": 0.9385964912280702, "train/loss": 0.38583900032793744, "train/accuracy": 0.8947368421052632, "gap/loss": -0.029748480456570803, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": ["early_stopping"], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO "trials" VALUES('digits-2',0,'complete','baseline',3.52837585010810916852e-01,7.90153026580810546875e-01,1.79570338455607700347e+09,'{"params": {"penalty": "none", "dropout": 0.0, "stochastic_depth": 0.0, "augmentation": "none"}, "best": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {"epoch": 3.0, "val/loss": 0.3528375850108109, "val/accuracy": 0.9385964912280702, "train/loss": 0.3948310806514009, "train/accuracy": 0.8947368421052632, "gap/loss": -0.04199349564058996, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": [], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO "trials" VALUES('digits-2',1,'complete','search',3.51268870690674139822e-01,1.02162504196167,1.79570338558235692971e+09,'{"params": {"dropout": 0.10100908115482898}, "best": {"epoch": 3.0, "val/loss": 0.35126887069067414, "val/accuracy": 0.9385964912280702, "train/loss": 0.3919443186911705, "train/accuracy": 0.8947368421052632, "gap/loss": -0.040675448000496384, "gap/accuracy": -0.04385964912280704, "sparsity": 0.0}, "control": {}, "stopped_epoch": 3, "violation": 0.0, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": ["early_stopping"], "folds": [], "ran_on": {"device": "CPU", "precision": "fp32"}}');
INSERT INTO "trials" VALUES('digits-2',2,'running','search',NULL,0.0,NULL,'{"params": {"dropout": 0.02281570508359223}, "best": {}, "control": {}, "stopped_epoch": null, "violation": null, "reason": null, "confirms": null, "seed": null, "replicate": 0, "without": [], "redraws_test": false, "not_acting": [], "folds": [], "ran_on": {}}');
CREATE TABLE users (
	name VARCHAR(64) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	created DOUBLE NOT NULL, 
	revoked DOUBLE, 
	PRIMARY KEY (name)
);
INSERT INTO "users" VALUES('ann','user',1.79570322879436492921e+09,NULL);
CREATE TABLE webhooks (
	url VARCHAR(512) NOT NULL, 
	event BIGINT NOT NULL, 
	tries INTEGER NOT NULL, 
	next_try DOUBLE NOT NULL, 
	PRIMARY KEY (url)
);
CREATE INDEX ix_tokens_user ON tokens (user);
CREATE INDEX ix_sweeps_created ON sweeps (created, id);
CREATE INDEX ix_sweeps_owner_created ON sweeps (owner, created);
CREATE INDEX ix_sweeps_state_created ON sweeps (state, created);
CREATE INDEX ix_transitions_sweep_id ON transitions (sweep_id);
CREATE INDEX ix_events_sweep ON events (sweep_id, id);
COMMIT;
