package app

import (
	"context"
	"time"

	"lxd/api"
	"lxd/internal/endpoint/monitoring"
	"lxd/internal/instance"
	"lxd/internal/metric"
	"lxd/internal/project"
	"lxd/internal/rest"
	"lxd/internal/schema"
	"lxd/internal/server"
	"lxd/internal/store"
)

// metrics is the route of the metrics, with what they are taken from.
func (a *App) metrics() []rest.Route {
	d := a.domain
	svc := metric.New(metric.Sources{
		Began: time.Now(), Targets: d.targets, Instances: a.population, Requests: a.requests,
		Operations: func() (n int) {
			for _, o := range a.ops.List("") {
				if o.API().StatusCode == api.StatusRunning {
					n++
				}
			}
			return n
		},
		Warnings: func(ctx context.Context) (n int, err error) {
			all, err := d.warnings.List(ctx)
			for _, w := range all {
				if w.Status != "resolved" {
					n++
				}
			}
			return n, err
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	go svc.Refresh(ctx)
	a.onClose("metrics", func(context.Context) error { cancel(); return nil })
	return monitoring.Routes(svc, monitoring.Rules{Project: d.projects.Check, Open: func(ctx context.Context) (bool, error) {
		v, err := d.server.Get(ctx, server.MetricsAuthentication)
		return err == nil && !schema.IsTrue(v), err
	}})
}

// targets are the instances that run and can be measured.
func (d *domain) targets() (out []metric.Target) {
	for _, m := range d.instances.Meters() {
		out = append(out, metric.Target{Project: m.Project, Name: m.Name, Type: string(api.InstanceTypeContainer), Meter: m.Meter})
	}
	return out
}

// population counts the instances of every project.
func (a *App) population(ctx context.Context) (out map[metric.Population]int, err error) {
	err = a.store.View(ctx, func(tx store.Tx) error {
		out = map[metric.Population]int{}
		for p, err := range project.Collection.All(tx, "") {
			if err != nil {
				return err
			}
			out[metric.Population{Project: p.Name, Type: string(api.InstanceTypeContainer)}] = 0
			out[metric.Population{Project: p.Name, Type: "virtual-machine"}] = 0
		}
		for _, r := range instance.Collection.AllRev(tx, "") {
			out[metric.Population{Project: r.Project, Type: string(r.Type)}]++
		}
		return nil
	})
	return out, err
}

func (a *App) requests() (out []metric.Request) {
	for _, r := range a.rest.Requests() {
		out = append(out, metric.Request(r))
	}
	return out
}
