package check

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"
)

// An object of Kubernetes, decoded strictly into its Go type.
type object struct {
	kind, name string
	typed      any
}

// decode decodes documents strictly: an unknown or doubled member is an error, and so is a member of the wrong type.
func decode(t *testing.T, documents []string) (all []object) {
	t.Helper()
	for _, doc := range documents {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		typed := map[string]any{
			"apps/v1 StatefulSet":                     &apps.StatefulSet{},
			"batch/v1 CronJob":                        &batch.CronJob{},
			"v1 ConfigMap":                            &core.ConfigMap{},
			"v1 PersistentVolumeClaim":                &core.PersistentVolumeClaim{},
			"v1 Secret":                               &core.Secret{},
			"v1 Service":                              &core.Service{},
			"v1 ServiceAccount":                       &core.ServiceAccount{},
			"networking.k8s.io/v1 NetworkPolicy":      &networking.NetworkPolicy{},
			"policy/v1 PodDisruptionBudget":           &policy.PodDisruptionBudget{},
			"monitoring.coreos.com/v1 PrometheusRule": &monitoring.PrometheusRule{},
			"monitoring.coreos.com/v1 ServiceMonitor": &monitoring.ServiceMonitor{},
		}[head.APIVersion+" "+head.Kind]
		if typed == nil {
			t.Errorf("unknown type %s %s\n%s", head.APIVersion, head.Kind, doc)
			continue
		}
		if err := yaml.UnmarshalStrict([]byte(doc), typed); err != nil {
			t.Errorf("%s %s: %v\n%s", head.Kind, head.Metadata.Name, err, doc)
		}
		if head.Metadata.Name == "" {
			t.Errorf("a %s has no name", head.Kind)
		}
		if schema := schemaOf(head.APIVersion, head.Kind); schema != nil {
			var value any
			if err := yaml.Unmarshal([]byte(doc), &value); err != nil {
				t.Fatal(err)
			}
			for _, path := range missing(schema, head.Kind, value) {
				t.Errorf("%s: %s is required", head.Metadata.Name, path)
			}
		} else if !strings.HasPrefix(head.APIVersion, "monitoring.coreos.com/") {
			t.Errorf("Kubernetes' OpenAPI document has no %s %s", head.APIVersion, head.Kind)
		}
		all = append(all, object{head.Kind, head.Metadata.Name, typed})
	}
	return all
}

// schemaOf returns the schema of a type in the OpenAPI document of Kubernetes that Kustomize has, or nil. The document
// is of Kubernetes 1.21, so members that are newer are not in it.
func schemaOf(apiVersion, kind string) *openapi.ResourceSchema {
	return openapi.SchemaForResourceType(kyaml.TypeMeta{APIVersion: apiVersion, Kind: kind})
}

// missing returns the required members that a value does not have. The types of Go cannot tell: they decode without.
func missing(schema *openapi.ResourceSchema, path string, value any) (all []string) {
	switch value := value.(type) {
	case map[string]any:
		for _, name := range schema.Schema.Required {
			if value[name] == nil {
				all = append(all, path+"."+name)
			}
		}
		for name, below := range value {
			if field := schema.Field(name); field != nil {
				all = append(all, missing(field, path+"."+name, below)...)
			}
		}
	case []any:
		if elements := schema.Elements(); elements != nil {
			for i, below := range value {
				all = append(all, missing(elements, path+"["+strconv.Itoa(i)+"]", below)...)
			}
		}
	}
	return all
}

// Required members are found at any depth.
func TestMissing(t *testing.T) {
	var value any
	if err := yaml.Unmarshal([]byte(`
spec:
  selector: {}
  template: {spec: {containers: [{image: a, ports: [{name: http}]}]}}
  volumeClaimTemplates: []
`), &value); err != nil {
		t.Fatal(err)
	}
	got := missing(schemaOf("apps/v1", "StatefulSet"), "StatefulSet", value)
	slices.Sort(got)
	want := []string{
		"StatefulSet.spec.serviceName", "StatefulSet.spec.template.spec.containers[0].name",
		"StatefulSet.spec.template.spec.containers[0].ports[0].containerPort",
	}
	if !slices.Equal(got, want) {
		t.Errorf("missing %v, want %v", got, want)
	}
}

// find returns the objects of a type.
func find[T any](all []object) (found []T) {
	for _, o := range all {
		if v, ok := o.typed.(T); ok {
			found = append(found, v)
		}
	}
	return found
}

func kinds(all []object) (sorted []string) {
	for _, o := range all {
		sorted = append(sorted, o.kind)
	}
	slices.Sort(sorted)
	return sorted
}

func TestChartRendersObjects(t *testing.T) {
	for name, want := range map[string][]string{
		"defaults": {"ConfigMap", "Service", "ServiceAccount", "StatefulSet"},
		"everything": {
			"ConfigMap", "ConfigMap", "ConfigMap", "ConfigMap", "ConfigMap", // the configuration and four dashboards
			"NetworkPolicy", "PodDisruptionBudget", "PrometheusRule", "Secret", "Service", "ServiceAccount",
			"ServiceMonitor", "StatefulSet",
		},
		"once": {
			"ConfigMap", "ConfigMap", "ConfigMap", "ConfigMap", "ConfigMap",
			"CronJob", "NetworkPolicy", "PersistentVolumeClaim", "Secret", "ServiceAccount",
		},
		"own objects":  {"Service", "StatefulSet"},
		"no volume":    {"ConfigMap", "Service", "ServiceAccount", "StatefulSet"},
		"once, simple": {"ConfigMap", "CronJob", "ServiceAccount"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := decode(t, render(t, variants()[name], "Helm"))
			if got := kinds(objects); !slices.Equal(got, want) {
				t.Errorf("rendered %v, want %v", got, want)
			}
			holdsAgainstProgram(t, objects)
		})
	}
}

// holdsAgainstProgram checks what the objects say about the program.
func holdsAgainstProgram(t *testing.T, objects []object) {
	t.Helper()
	p := readProgram(t)
	var templates []core.PodTemplateSpec
	claims := map[string]bool{}
	for _, c := range find[*core.PersistentVolumeClaim](objects) {
		claims[c.Name] = true
	}
	for _, s := range find[*apps.StatefulSet](objects) {
		templates = append(templates, s.Spec.Template)
		if !maps.Equal(s.Spec.Selector.MatchLabels, selected(s.Spec.Template.Labels, s.Spec.Selector.MatchLabels)) {
			t.Error("the StatefulSet does not select its own pods")
		}
		for _, c := range s.Spec.VolumeClaimTemplates {
			s.Spec.Template.Spec.Volumes = append(s.Spec.Template.Spec.Volumes, core.Volume{Name: c.Name})
		}
		templates[len(templates)-1] = s.Spec.Template
		probes(t, p, s.Spec.Template.Spec.Containers[0])
	}
	for _, j := range find[*batch.CronJob](objects) {
		template := j.Spec.JobTemplate.Spec.Template
		templates = append(templates, template)
		if c := template.Spec.Containers[0]; !slices.Equal(c.Args, []string{"run", "--once"}) || len(c.Ports) > 0 {
			t.Errorf("the CronJob runs %v and opens %v", c.Args, c.Ports)
		}
		if template.Spec.RestartPolicy != core.RestartPolicyNever || j.Spec.ConcurrencyPolicy != batch.ForbidConcurrent {
			t.Error("the CronJob may run twice at a time")
		}
		for _, v := range template.Spec.Volumes {
			if c := v.PersistentVolumeClaim; c != nil && !claims[c.ClaimName] {
				t.Errorf("the CronJob mounts %s, which is not rendered", c.ClaimName)
			}
		}
	}
	if len(templates) != 1 {
		t.Fatalf("%d pods", len(templates))
	}
	pod(t, p, templates[0])
	network(t, p, objects, templates[0])
	for _, c := range find[*core.ConfigMap](objects) {
		if text, ok := c.Data[path.Base(p.config)]; ok {
			p.valid(t, c.Name, text)
		}
	}
}

// selected returns the labels that a selector looks at.
func selected(labels, selector map[string]string) map[string]string {
	found := map[string]string{}
	for k := range selector {
		if v, ok := labels[k]; ok {
			found[k] = v
		}
	}
	return found
}

// pod checks the pod's security, its volumes and its environment.
func pod(t *testing.T, p program, template core.PodTemplateSpec) {
	t.Helper()
	s, c := template.Spec, template.Spec.Containers[0]
	if s.SecurityContext == nil || !*s.SecurityContext.RunAsNonRoot || number(*s.SecurityContext.RunAsUser) != p.user ||
		number(*s.SecurityContext.FSGroup) != p.user {
		t.Errorf("the pod does not run as the image's user %s", p.user)
	}
	if x := c.SecurityContext; !*x.ReadOnlyRootFilesystem || *x.AllowPrivilegeEscalation ||
		!slices.Equal(x.Capabilities.Drop, []core.Capability{"ALL"}) {
		t.Error("the container may do more than it needs")
	}
	if s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken {
		t.Error("the pod gets a token of Kubernetes, which it does not need")
	}
	if grace := time.Duration(*s.TerminationGracePeriodSeconds) * time.Second; grace < p.drain+10*time.Second {
		t.Errorf("the pod has %s to stop; running targets alone have %s", grace, p.drain)
	}
	volumes := map[string]bool{}
	for _, v := range s.Volumes {
		volumes[v.Name] = true
	}
	mounted := map[string]core.VolumeMount{}
	for _, m := range c.VolumeMounts {
		mounted[m.MountPath] = m
		if !volumes[m.Name] {
			t.Errorf("%s is mounted, and there is no such volume", m.Name)
		}
	}
	if m, ok := mounted[p.dataDir]; !ok || m.ReadOnly {
		t.Errorf("%s is not a volume that can be written to", p.dataDir)
	}
	if m, ok := mounted[path.Dir(p.config)]; !ok || !m.ReadOnly || m.SubPath != "" {
		t.Errorf("%s is not a read-only volume", path.Dir(p.config))
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	for name, want := range map[string]string{
		"COLLECTOR_CONFIG": p.config, "COLLECTOR_DATA_DIR": p.dataDir, "COLLECTOR_LISTEN": p.listen,
	} {
		if env[name] != want {
			t.Errorf("%s is %s; the image has %s", name, env[name], want)
		}
	}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// probes checks the daemon's port and its probes.
func probes(t *testing.T, p program, c core.Container) {
	t.Helper()
	if len(c.Ports) != 1 || number(int64(c.Ports[0].ContainerPort)) != p.port {
		t.Errorf("the container opens %v, the program listens on %s", c.Ports, p.port)
	}
	for name, probe := range map[string]*core.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe} {
		if probe == nil || probe.HTTPGet.Path != p.healthy || probe.HTTPGet.Port.String() != c.Ports[0].Name {
			t.Errorf("the %s probe is %v", name, probe)
		}
	}
	if r := c.ReadinessProbe; r == nil || r.HTTPGet.Path != "/-/ready" || r.HTTPGet.Port.String() != c.Ports[0].Name {
		t.Errorf("the readiness probe is %v", r)
	}
}

// network checks that Service, ServiceMonitor, NetworkPolicy and PodDisruptionBudget select what is there.
func network(t *testing.T, p program, objects []object, template core.PodTemplateSpec) {
	t.Helper()
	selects := func(what string, selector map[string]string, labels map[string]string) {
		t.Helper()
		if len(selector) == 0 || !maps.Equal(selector, selected(labels, selector)) {
			t.Errorf("%s selects %v; there is %v", what, selector, labels)
		}
	}
	var service *core.Service
	for _, service = range find[*core.Service](objects) {
		selects("the Service", service.Spec.Selector, template.Labels)
		if to := service.Spec.Ports[0].TargetPort.String(); to != template.Spec.Containers[0].Ports[0].Name {
			t.Errorf("the Service leads to port %s", to)
		}
	}
	for _, m := range find[*monitoring.ServiceMonitor](objects) {
		selects("the ServiceMonitor", m.Spec.Selector.MatchLabels, service.Labels)
		for _, e := range m.Spec.Endpoints {
			if e.Port != service.Spec.Ports[0].Name || !slices.Contains([]string{"/metrics", "/metrics/inventory"}, e.Path) {
				t.Errorf("the ServiceMonitor scrapes %s of port %s", e.Path, e.Port)
			}
		}
	}
	for _, n := range find[*networking.NetworkPolicy](objects) {
		selects("the NetworkPolicy", n.Spec.PodSelector.MatchLabels, template.Labels)
		for _, in := range n.Spec.Ingress {
			if in.Ports[0].Port.String() != p.port {
				t.Errorf("the NetworkPolicy lets in port %s", in.Ports[0].Port)
			}
		}
	}
	for _, b := range find[*policy.PodDisruptionBudget](objects) {
		selects("the PodDisruptionBudget", b.Spec.Selector.MatchLabels, template.Labels)
	}
	for _, r := range find[*monitoring.PrometheusRule](objects) {
		if len(r.Spec.Groups) != 3 {
			t.Errorf("the PrometheusRule has %d groups of alerts", len(r.Spec.Groups))
		}
	}
}

// What is switched on gets into the objects.
func TestChartTakesValues(t *testing.T) {
	text := strings.Join(render(t, everything(), "Helm"), "---\n")
	for _, want := range []string{
		"image: \"registry.example.com/collector:1.2.3\"",
		"eks.amazonaws.com/role-arn: arn:aws:iam::111111111111:role/collector",
		"169.254.170.23/32", "storageClassName: gp3", "name: HTTPS_PROXY", "release: prometheus", "prod_seed: EXAMPLE",
		"maxUnavailable: 0", "port: 5432", "honorLabels: true", "priorityClassName: high", "name: AWS_EC2_METADATA_DISABLED",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing rendered has %s", want)
		}
	}
}
