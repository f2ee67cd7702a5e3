package outputs

// Spool is what waits on disk for an output whose receiver may be away.
type Spool struct {
	MaxBytes Bytes  `yaml:"max_bytes" doc:"How large it may grow, as 1GiB. Default: 1GiB."`
	WhenFull string `yaml:"when_full" enum:"drop_oldest,block" doc:"drop_oldest loses the oldest records, and counts them; block makes collecting wait until the receiver takes some: then nothing is lost, and every account stands still. Default: drop_oldest."`
}
