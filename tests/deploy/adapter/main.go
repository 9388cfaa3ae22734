// What prometheus-adapter makes of a file of rules, by its own code: adapter RULES PROMETHEUS NAMESPACE METRIC POD...
//
// It is the adapter without its server and its cluster: the Pods are those that the command line names. It prints, as an autoscaler gets
// it, the value of the metric of each Pod that has one: a line `POD VALUE`.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	"sigs.k8s.io/prometheus-adapter/pkg/client"
	"sigs.k8s.io/prometheus-adapter/pkg/config"
	adapter "sigs.k8s.io/prometheus-adapter/pkg/custom-provider"
	"sigs.k8s.io/prometheus-adapter/pkg/naming"
)

// The adapter asks Prometheus again after this time which series there are.
const interval = time.Second

func main() {
	rules, prometheus, namespace, metric := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	values, err := read(rules, prometheus, namespace, metric, os.Args[5:])
	if err != nil {
		log.Fatal(err)
	}
	for _, value := range values {
		fmt.Println(value)
	}
}

func read(rules, prometheus, namespace, metric string, names []string) ([]string, error) {
	settings, err := config.FromFile(rules)
	if err != nil {
		return nil, err
	}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{corev1.SchemeGroupVersion})
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	namers, err := naming.NamersFromConfig(settings.Rules, mapper)
	if err != nil {
		return nil, err
	}
	var pods []runtime.Object
	for _, name := range names {
		pods = append(pods, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
	}
	cluster := fake.NewSimpleDynamicClient(scheme.Scheme, pods...)
	base, err := url.Parse(prometheus)
	if err != nil {
		return nil, err
	}
	asked := client.NewClient(http.DefaultClient, base, http.Header{}, http.MethodGet)
	metrics, lister := adapter.NewPrometheusProvider(mapper, cluster, asked, namers, interval, time.Hour)
	stop := make(chan struct{})
	defer close(stop)
	lister.RunUntil(stop)
	for end := time.Now().Add(10 * time.Second); len(metrics.ListAllMetrics()) == 0; {
		if time.Now().After(end) {
			return nil, fmt.Errorf("no series of the rules is in Prometheus")
		}
		time.Sleep(interval / 10)
	}
	info := provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: metric}
	list, err := metrics.GetMetricBySelector(context.Background(), namespace, labels.Everything(), info, labels.Everything())
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, item := range list.Items {
		lines = append(lines, fmt.Sprintf("%s %d", item.DescribedObject.Name, item.Value.Value()))
	}
	return lines, nil
}
